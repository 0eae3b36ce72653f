package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/cnb"
)

// baseLabel is on every base that plimsoll composed, and on the images made on it.
const baseLabel = "dev.plimsoll.base"

// section fills its part of the report. What it cannot find out it says there; an error
// ends the inspection.
type section func(context.Context, *subject, *Image) error

// sections are the parts in the order of their needs: those that count packages come after
// the one that finds them.
func sections() []section {
	return []section{identity, source, made, runs, layers, inventories, base, rebased, builders, facts}
}

// describe reports on one image.
func describe(ctx context.Context, s *subject) (Image, error) {
	r := Image{Facts: []Fact{}, Layers: []Layer{}}
	for _, fill := range sections() {
		if err := fill(ctx, s, &r); err != nil {
			return r, err
		}
	}
	return r, ctx.Err()
}

func identity(_ context.Context, s *subject, r *Image) error {
	r.Kind = s.kind()
	var exported cnb.LifecycleMetadata
	if s.decode(r, cnb.LifecycleMetadataLabel, &exported) {
		s.exported = &exported
	}
	r.Platform, r.Digest, r.Size = s.platform(), s.Digest.String(), size(s.Image.Layers)
	r.Distro = cnb.Distro{Name: s.label(cnb.DistroNameLabel), Version: s.label(cnb.DistroVersionLabel)}.String()
	created := s.config.Created.Time
	if text := s.said(build.CreatedAnnotation); text != "" {
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			created = t
		}
	}
	switch {
	case created.Year() > 1980:
		r.Created = created.UTC()
	case created.Unix() <= 0:
		r.unknown("created", "its configuration has no date")
	default:
		r.unknown("created", "its date is the one that reproducible builds put on everything")
	}
	if s.declared != nil && s.config.OS != "" && s.declared.Architecture != s.config.Architecture {
		r.note("the index says that it is for %s, its configuration %s", s.declared.Architecture, s.config.Architecture)
	}
	if !s.Image.Config.MediaType.IsConfig() {
		r.note("it is an artifact (%s) rather than an image to run", s.Image.Config.MediaType)
	}
	return nil
}

func (s *subject) kind() Kind {
	switch {
	case s.label(cnb.BuilderMetadataLabel) != "":
		return KindBuilder
	case s.label(cnb.LifecycleMetadataLabel) != "":
		return KindApplication
	case s.label(baseLabel) != "":
		return KindBase
	}
	return KindForeign
}

func (s *subject) label(name string) string { return s.config.Config.Labels[name] }

// said gives what the manifest or, failing that, a label says under OCI's name.
func (s *subject) said(name string) string {
	return cmp.Or(s.Image.Annotations[name], s.label(name))
}

// maxLabel bounds the bytes of a label that is decoded; the largest of known builders have
// a tenth of it.
const maxLabel = 2 << 20

// decode reads a label that holds JSON. One that cannot be read is a note.
func (s *subject) decode(r *Image, label string, v any) bool {
	err := errTooMuch
	switch text := s.label(label); {
	case text == "":
		return false
	case len(text) <= maxLabel:
		err = cnb.DecodeLabel(s.config, label, v)
	}
	if err != nil {
		r.note("its label %s cannot be read: %v", label, err)
	}
	return err == nil
}

// decodeBounded reads JSON that is not longer than a label may be.
func decodeBounded(text string, v any) error {
	if len(text) > maxLabel {
		return errTooMuch
	}
	return json.Unmarshal([]byte(text), v)
}

func source(_ context.Context, s *subject, r *Image) error {
	from := Source{
		URL: s.said(build.SourceAnnotation), Revision: s.said(build.RevisionAnnotation),
		Subpath: s.said(build.SourceSubpathAnnotation), Digest: s.said(build.SourceDigestAnnotation),
	}
	var project cnb.ProjectMetadata
	if s.decode(r, cnb.ProjectMetadataLabel, &project) && project.Source != nil {
		from.URL = cmp.Or(from.URL, text(project.Source.Metadata, "repository", "url"))
		from.Revision = cmp.Or(from.Revision, text(project.Source.Version, "commit"))
	}
	switch {
	case from != (Source{}):
		r.Source = &from
	case r.Kind == KindApplication || r.Kind == KindForeign:
		r.unknown("source", "it has no annotation or label %s", build.SourceAnnotation)
	}
	return nil
}

// text gives the first of the keys whose value is a text.
func text(values map[string]any, keys ...string) string {
	for _, key := range keys {
		if value, ok := values[key].(string); ok && value != "" {
			return value
		}
	}
	return ""
}

// made says by what the image was built.
func made(_ context.Context, s *subject, r *Image) error {
	var metadata cnb.BuildMetadata
	if !s.decode(r, cnb.BuildMetadataLabel, &metadata) {
		if r.Kind == KindApplication || r.Kind == KindForeign {
			r.unknown("build", "it has no label %s that says what built it", cnb.BuildMetadataLabel)
		}
		return nil
	}
	r.Build = &Build{
		Builder: s.said(build.BuilderAnnotation), Lifecycle: metadata.Launcher.Version,
		Inputs: s.said(build.InputsAnnotation), Buildpacks: []string{},
	}
	if text := s.said(build.OverridesAnnotation); text != "" {
		if err := decodeBounded(text, &r.Build.Overrides); err != nil {
			r.note("its annotation %s cannot be read: %v", build.OverridesAnnotation, err)
		}
	}
	for _, b := range metadata.Buildpacks {
		r.Build.Buildpacks = append(r.Build.Buildpacks, cnb.FullName(b.ID, b.Version))
	}
	starts := started(s, metadata)
	for _, p := range metadata.Processes {
		r.Runs.Processes = append(r.Runs.Processes, Process{
			Type: p.Type, Command: slices.Concat(p.Command, p.Args), Default: p.Type == starts, Shell: !p.Direct, Buildpack: p.BuildpackID,
		})
	}
	return nil
}

// started gives the type of the process that starts without further word: the entrypoint
// is its link (CNB platform.md, "Launch").
func started(s *subject, metadata cnb.BuildMetadata) string {
	if entry := s.config.Config.Entrypoint; len(entry) == 1 && path.Dir(entry[0]) == "/cnb/process" {
		return path.Base(entry[0])
	}
	for _, p := range metadata.Processes {
		if p.Default {
			return p.Type
		}
	}
	return metadata.Default
}

func runs(_ context.Context, s *subject, r *Image) error {
	c := s.config.Config
	r.Runs.Entrypoint, r.Runs.Command = c.Entrypoint, c.Cmd
	r.Runs.User, r.Runs.WorkingDirectory, r.Runs.Environment, r.Runs.StopSignal = c.User, c.WorkingDir, c.Env, c.StopSignal
	r.Runs.Ports, r.Runs.Volumes = names(c.ExposedPorts), names(c.Volumes)
	return nil
}

func names(set map[string]struct{}) []string {
	var all []string
	for name := range set {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// cut gives the text, of which only so many bytes are kept.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
