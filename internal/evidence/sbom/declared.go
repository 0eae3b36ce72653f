package sbom

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/extract"
)

// exportedLabel holds what a lifecycle noted of the image that it exported (CNB
// platform.md, "io.buildpacks.lifecycle.metadata").
const exportedLabel = "io.buildpacks.lifecycle.metadata"

// maxLabel bounds the bytes of a label that is decoded.
const maxLabel = 4 << 20

// exported is what is read of that label.
type exported struct {
	SBOM struct {
		SHA string `json:"sha"` // diffID of the layer of all bills of materials
	} `json:"sbom"`
	Buildpacks []struct {
		ID string `json:"key"`
	} `json:"buildpacks"`
	RunImage struct {
		TopLayer string `json:"topLayer"` // diffID of the base's last layer
	} `json:"runImage"`
}

// readExported gives what the label says; nothing when it is not there or cannot be read.
func readExported(labels map[string]string) exported {
	text := labels[exportedLabel]
	var e exported
	if len(text) > maxLabel || json.Unmarshal([]byte(text), &e) != nil {
		return exported{}
	}
	return e
}

func (e exported) baseLayers(ids []string) int { return 1 + slices.Index(ids, e.RunImage.TopLayer) }

// buildpack gives the id of the one whose bills are in the folder: its id with "/" turned
// to "_", which cannot be turned back without knowing all ids.
func (e exported) buildpack(folder string) string {
	for _, b := range e.Buildpacks {
		if strings.ReplaceAll(b.ID, "/", "_") == folder {
			return b.ID
		}
	}
	return folder
}

// join puts what the buildpacks declare beside what was found, and gives where they do not
// agree. Only the layer that the exporter named is believed: anything else could be the
// application's own.
func (e exported) join(found []artifact.Package, s *state) ([]artifact.Package, []artifact.Disagreement) {
	if e.SBOM.SHA == "" {
		return found, nil
	}
	var index *finds
	for _, t := range s.tells {
		if t.diffID != e.SBOM.SHA || len(t.Declared) == 0 {
			continue
		}
		if index == nil {
			index = newFinds(found)
		}
		folder, _, _ := strings.Cut(strings.TrimPrefix(t.Path, extract.BuildpackDir), "/")
		for _, p := range t.Declared {
			index.declare(p, e.buildpack(folder), t)
		}
	}
	if index == nil {
		return found, nil
	}
	return index.result()
}

// finds are packages by what they are called.
type finds struct {
	all    []artifact.Package
	found  int // how many of them the image shows
	byURL  map[string][]int
	byName map[string][]int
	differ map[string]artifact.Disagreement // by buildpack and URL: two forms of one bill say the same
}

func newFinds(found []artifact.Package) *finds {
	f := &finds{all: slices.Clone(found), found: len(found), byURL: map[string][]int{}, byName: map[string][]int{}, differ: map[string]artifact.Disagreement{}}
	for i := range f.all {
		f.note(i)
	}
	return f
}

func (f *finds) note(i int) {
	p := f.all[i]
	url, name := bare(p), nameOf(p)
	f.byURL[url], f.byName[name] = append(f.byURL[url], i), append(f.byName[name], i)
}

// bare is a package's URL without qualifiers: those who declare seldom know them.
func bare(p artifact.Package) string { return nameOf(p) + "@" + plainVersion(p) }

// nameOf is in lower case, as package URLs of some types are.
func nameOf(p artifact.Package) string {
	return strings.ToLower(p.Type + "/" + p.Namespace + "/" + strings.ReplaceAll(p.Name, "_", "-"))
}

// plainVersion is a version without the "v" that some write before those of Go.
func plainVersion(p artifact.Package) string {
	if p.Type == "golang" {
		return strings.TrimPrefix(strings.TrimPrefix(p.Version, "go"), "v")
	}
	return p.Version
}

// declare takes one package that a buildpack declares.
func (f *finds) declare(p artifact.Package, by string, t *tell) {
	if same := f.byURL[bare(p)]; same != nil {
		for _, i := range same {
			f.all[i].FoundBy = with(slices.Clone(f.all[i].FoundBy), by)
		}
		return
	}
	d := artifact.Disagreement{Package: p.PURL(), DeclaredBy: by}
	others := f.byName[nameOf(p)]
	if others != nil {
		other := f.all[others[0]]
		d.Found, d.Why = other.PURL(), fmt.Sprintf("the image has version %q", other.Version)
		if p.Version == "" {
			for _, i := range others {
				f.all[i].FoundBy = with(slices.Clone(f.all[i].FoundBy), by)
			}
			return
		}
	} else {
		d.Why = "nothing in the image shows it"
		p.Layer, p.Paths, p.FoundBy = t.diffID, []string{t.Path}, []string{by}
		f.all = append(f.all, p)
		f.note(len(f.all) - 1)
	}
	f.differ[by+" "+d.Package] = d
}

func (f *finds) result() ([]artifact.Package, []artifact.Disagreement) {
	var differ []artifact.Disagreement
	for _, d := range f.differ {
		differ = append(differ, d)
	}
	slices.SortFunc(differ, func(a, b artifact.Disagreement) int {
		return strings.Compare(a.Package+" "+a.DeclaredBy, b.Package+" "+b.DeclaredBy)
	})
	if len(f.all) > f.found { // else they are sorted as they were found
		f.all = sortPackages(f.all)
	}
	return f.all, differ
}
