package cli

import (
	"fmt"
	"strings"

	"plimsoll.dev/plimsoll/internal/build/inspect"
)

// layers writes the layers from the top down, as the application lies on its base. Without
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
	p.row("LAYER", "SIZE", "PACKAGES")
	below := 0
	if p.image.Kind != inspect.KindBase {
		for below < len(all) && all[below].Part == inspect.PartBase {
			below++
		}
	}
	for i := len(all) - 1; i >= below; i-- {
		if left := len(all) - shownLayers; i < left-1 && left > below {
			p.row(fmt.Sprintf("and %d more: see --layers", i-below+1))
			break
		}
		p.row(layerName(all[i]), size(all[i].Size), brief(all[i]))
	}
	if below > 0 {
		var sum int64
		var packages []inspect.Package
		for _, l := range all[:below] {
			sum, packages = sum+l.Size, append(packages, l.Packages...)
		}
		told := inspect.Layer{Told: all[below-1].Told, Packages: packages}
		for _, l := range all[:below] {
			told.Told = inspect.Told(or(string(told.Told), string(l.Told)))
		}
		p.row("base, "+plural(below, "layer"), size(sum), brief(told))
	}
	var counts []string
	for _, c := range p.image.Packages {
		counts = append(counts, fmt.Sprintf("%d %s", c.Count, c.Type))
	}
	p.row("total", size(p.image.Size), strings.Join(counts, ", "))
}

// shownLayers is how many layers are listed without --layers.
const shownLayers = 64

// everything writes every layer with a line for each of its packages.
func (p *page) everything() {
	all := p.image.Layers
	p.row("LAYER", "SIZE", "PACKAGE", "VERSION", "DIGEST")
	for i := len(all) - 1; i >= 0; i-- {
		l := all[i]
		name, bytes, digest := layerName(l), size(l.Size), short(l.Digest)
		line := func(pkg, version string) {
			p.row(name, bytes, pkg, version, digest)
			name, bytes, digest = "", "", ""
		}
		for _, pkg := range l.Packages {
			line(pkg.Name, or(pkg.Version, "-"))
		}
		for _, gone := range l.Removed {
			line(gone, "removed")
		}
		if name != "" {
			line(or(brief(l), " "), "")
		}
	}
	p.row("total", size(p.image.Size))
}

// Widths of cells, so that a row fits on the page.
const (
	layerWidth   = 46
	packageWidth = 38
)

func layerName(l inspect.Layer) string {
	name := l.Name
	if id, _, _ := strings.Cut(l.Buildpack, "@"); id != "" && l.Name != l.Buildpack {
		name = id + ": " + l.Name
	}
	return clip(visible(name), layerWidth)
}

// brief gives the packages of a layer if they fit, else how many there are.
func brief(l inspect.Layer) string {
	if l.Told == "" {
		if l.Part == inspect.PartOther {
			return "not known"
		}
		return ""
	}
	var names []string
	types := map[string]int{}
	var order []string
	for _, p := range l.Packages {
		names = append(names, strings.TrimSpace(p.Name+" "+p.Version))
		if types[p.Type]++; types[p.Type] == 1 {
			order = append(order, p.Type)
		}
	}
	text := visible(strings.Join(names, ", "))
	if len(text) <= packageWidth {
		return text
	}
	var counts []string
	for _, kind := range order {
		counts = append(counts, fmt.Sprintf("%d %s", types[kind], kind))
	}
	return clip(strings.Join(counts, ", "), packageWidth)
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
		if run.Digest != "" {
			text += "@" + short(run.Digest)
		}
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
	p.written = false
	p.row("BUILDPACK", "VERSION", "API", "FOR")
	for _, one := range b.Buildpacks {
		p.row(one.ID, orDash(one.Version), orDash(one.API), strings.Join(one.Targets, ", "))
	}
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
