package build

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/override"
	"plimsoll.dev/plimsoll/internal/oci"
)

// overrides are the dependency overrides of one build.
type overrides struct {
	holding override.Holding // for the image
	raises  []override.Raise // those of them that bear on the source
}

// Overridden is an override that bore on a build's source.
type Overridden struct {
	Name       string   `json:"name"`      // of the DependencyOverride
	Ecosystem  string   `json:"ecosystem"` // by OSV's name
	Package    string   `json:"package"`
	From       []string `json:"from,omitempty"` // lower versions that the source's lock files name, the lowest first; none where they do not say
	To         string   `json:"to"`             // the floor
	Major      bool     `json:"major,omitempty"`
	Reason     string   `json:"reason,omitempty"` // not in an image's annotation
	Advisories []string `json:"advisories,omitempty"`
}

// String gives one line for a person: "npm lodash 4.17.15 -> 4.17.21 (lodash-2026)".
func (o Overridden) String() string {
	from := strings.Join(o.From, ", ")
	if from == "" {
		from = "lower"
	}
	return fmt.Sprintf("%s %s %s -> %s (%s)", o.Ecosystem, o.Package, from, o.To, o.Name)
}

// OverridesFolder is where a home keeps its overrides.
func OverridesFolder(home string) string { return filepath.Join(home, "overrides") }

// overrides gives what holds now for the images of the tag's repository, and what of it bears on
// the source. An override that changes nothing leaves no trace in what is built.
func (p *Platform) overrides(tag oci.Reference, tree string) (overrides, error) {
	set, err := override.Load(OverridesFolder(p.Home))
	if err != nil {
		return overrides{}, err
	}
	o := overrides{holding: set.For(tag.Repository(), time.Now())}
	o.raises, err = o.holding.In(tree)
	return o, err
}

func (o overrides) bearing() override.Holding { return override.Overrides(o.raises) }

// told gives what is said of the build.
func (o overrides) told() []Overridden {
	var all []Overridden
	for _, r := range o.raises {
		spec := r.Override.Spec
		told := Overridden{
			Name: r.Override.Name, Ecosystem: spec.Ecosystem, Package: spec.Package, From: r.From, To: spec.Version,
			Major: spec.Major, Reason: string(spec.Reason),
		}
		for _, a := range spec.Advisories {
			told.Advisories = append(told.Advisories, string(a))
		}
		all = append(all, told)
	}
	return all
}

// annotation is what the image itself says of its overrides. Reasons are for its provenance: a
// better word for the same is no reason to build again.
func (o overrides) annotation() (string, error) {
	if len(o.raises) == 0 {
		return "", nil
	}
	told := o.told()
	for i := range told {
		told[i].Reason, told[i].Advisories = "", nil
	}
	text, err := json.Marshal(told)
	return string(text), err
}

// The files by which steps are told of overrides.
const (
	overridesPath   = platformPath + "/overrides"
	overridesFile   = "overrides.json"  // for buildpacks that know of them (docs/overrides.md)
	constraintsFile = "constraints.txt" // for pip, whoever calls it
)

func (o overrides) files() (map[string][]byte, error) {
	bearing := o.bearing()
	if len(bearing) == 0 {
		return nil, nil
	}
	text, err := bearing.Document()
	if err != nil {
		return nil, fmt.Errorf("encode overrides: %w", err)
	}
	files := map[string][]byte{overridesFile: text}
	if constraints := constraints(bearing); constraints != "" {
		files[constraintsFile] = []byte(constraints)
	}
	return files, nil
}

// variables are the means by which buildpacks that know of no overrides hold to them. Npm and
// the go command have none.
func (o overrides) variables() map[string]string {
	if constraints(o.bearing()) == "" {
		return nil
	}
	return map[string]string{"PIP_CONSTRAINT": overridesPath + "/" + constraintsFile}
}

// constraints gives a constraints file of pip
// (https://pip.pypa.io/en/stable/user_guide/#constraints-files).
func constraints(holding override.Holding) string {
	var b strings.Builder
	for _, o := range holding {
		if o.Spec.Ecosystem == "PyPI" {
			fmt.Fprintf(&b, "%s>=%s\n", o.Spec.Package, o.Spec.Version)
		}
	}
	return b.String()
}

// enforce refuses an image with a dependency below its floor, whatever buildpack made it.
func (j *job) enforce(ctx context.Context, image v1.Image) error {
	if len(j.overrides.holding) == 0 || j.platform.Contents == nil {
		return nil
	}
	contents, err := j.platform.Contents(ctx, image)
	if err != nil {
		return err
	}
	return override.Refuse(j.subject(), j.overrides.holding, contents)
}
