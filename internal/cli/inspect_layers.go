package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"plimsoll.dev/plimsoll/internal/build/inspect"
)

// layers writes the layers from the bottom up, as the application lies on its base. Without
// --layers a base below others is one line.
func (p *page) layers() {
	all := p.image.Layers
	if len(all) == 0 {
		return
	}
	if p.all {
		p.everything()
		return
	}
	rows := []tableRow{{"LAYER", "SIZE", "PACKAGES"}}
	below := 0
	for p.image.Kind != inspect.KindBase && below < len(all) && all[below].Part == inspect.PartBase {
		below++
	}
	room := pageWidth - layersWidth(all[below:])
	if below > 0 {
		base := joined(all[:below])
		rows = append(rows, tableRow{"base, " + plural(below, "layer"), size(base.Size), p.brief(base, room)})
	}
	for i, l := range all[below:] {
		if i == shownLayers {
			rows = append(rows, tableRow{fmt.Sprintf("and %d more: see --layers", len(all)-below-i)})
			break
		}
		rows = append(rows, tableRow{layerName(l), size(l.Size), p.brief(l, room)})
	}
	p.table(append(rows, tableRow{"total", size(p.image.Size), counts(p.image.Packages)}))
}

// shownLayers is how many layers are listed without --layers.
const shownLayers = 64

// layersWidth gives what names and sizes of the layers take of the page.
func layersWidth(layers []inspect.Layer) int {
	widest := len("base, 00 layers")
	for _, l := range layers[:min(len(layers), shownLayers)] {
		widest = max(widest, utf8.RuneCountInString(layerName(l)))
	}
	return widest + len("  000.0 MB  ")
}

// joined gives some layers as if they were one.
func joined(layers []inspect.Layer) inspect.Layer {
	sum := inspect.Layer{Part: layers[0].Part}
	for _, l := range layers {
		sum.Size += l.Size
		sum.Packages = append(sum.Packages, l.Packages...)
		if sum.Told == "" {
			sum.Told = l.Told
		}
	}
	return sum
}

// everything writes every layer with a line for each of its packages.
func (p *page) everything() {
	rows := []tableRow{{"LAYER", "SIZE", "PACKAGE", "VERSION", "DIGEST"}}
	for _, l := range p.image.Layers {
		first := tableRow{layerName(l), size(l.Size), p.brief(inspect.Layer{Part: l.Part, Told: l.Told}, pageWidth), "", short(l.Digest)}
		about := len(rows)
		for _, pkg := range l.Packages {
			rows = append(rows, tableRow{"", "", pkg.Name, or(pkg.Version, "-"), ""})
		}
		for _, gone := range l.Removed {
			rows = append(rows, tableRow{"", "", gone, "removed", ""})
		}
		if len(rows) == about {
			rows = append(rows, first)
			continue
		}
		rows[about][0], rows[about][1], rows[about][4] = first[0], first[1], first[4]
	}
	p.table(append(rows, tableRow{"total", size(p.image.Size), counts(p.image.Packages)}))
}

// layerWidth keeps a layer's name from filling the page.
const layerWidth = 46

func layerName(l inspect.Layer) string {
	name := l.Name
	if id, _, _ := strings.Cut(l.Buildpack, "@"); id != "" && l.Name != l.Buildpack {
		name = id + ": " + l.Name
	}
	return clip(visible(name), layerWidth)
}

// brief gives what packages a layer holds: with their versions if there is room, else their
// names, else how many there are.
func (p *page) brief(l inspect.Layer, room int) string {
	if l.Told == "" {
		if l.Part == inspect.PartBase || p.image.Kind == inspect.KindForeign {
			return "not known"
		}
		return ""
	}
	var versions, names []string
	types := map[string]int{}
	for _, one := range l.Packages {
		versions = append(versions, strings.TrimSpace(one.Name+" "+one.Version))
		names = append(names, one.Name)
		types[one.Type]++
	}
	for _, list := range [][]string{versions, names} {
		if text := visible(strings.Join(list, ", ")); utf8.RuneCountInString(text) <= room {
			return text
		}
	}
	var sums []inspect.Count
	for _, kind := range slices.Sorted(maps.Keys(types)) {
		sums = append(sums, inspect.Count{Type: kind, Count: types[kind]})
	}
	return clip(counts(sums), room)
}

func counts(all []inspect.Count) string {
	var texts []string
	for _, c := range all {
		texts = append(texts, fmt.Sprintf("%d %s", c.Count, c.Type))
	}
	return strings.Join(texts, ", ")
}

// clip cuts what is too long for its cell.
func clip(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:width-1]) + "…"
}

// builder writes what a builder builds with.
func (p *page) builder() {
	b := p.image.Builder
	if b == nil {
		return
	}
	p.field("about", b.Description)
	p.field("lifecycle", fmt.Sprintf("%s, Platform API %s, Buildpack API %s", b.Lifecycle, span(b.APIs.Platform), span(b.APIs.Buildpack)))
	for i, run := range b.RunImages {
		text := run.Image
		if len(run.Buildpacks) > 0 {
			text += " for " + strings.Join(run.Buildpacks, ", ")
		}
		p.field(first(i, "runs on"), text)
	}
	for i, group := range b.Order {
		p.field(first(i, "tries"), fmt.Sprintf("%d. %s", i+1, strings.Join(group, ", ")))
	}
	if b.Extensions {
		p.field("extensions", "it has image extensions, which plimsoll does not run")
	}
	rows := []tableRow{{"BUILDPACK", "VERSION", "API", "FOR"}}
	for _, one := range b.Buildpacks {
		rows = append(rows, tableRow{one.ID, orDash(one.Version), orDash(one.API), strings.Join(one.Targets, ", ")})
	}
	p.written = false
	p.table(rows)
}

// span gives the first and the last of some versions.
func span(versions []string) string {
	switch len(versions) {
	case 0:
		return "-"
	case 1:
		return versions[0]
	}
	return versions[0] + " to " + versions[len(versions)-1]
}

// first gives the name for the first of several lines; the others have none.
func first(i int, name string) string {
	if i == 0 {
		return name
	}
	return " "
}
