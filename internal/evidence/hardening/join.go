package hardening

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Join gives the report on an image from its configuration, the annotations of its
// manifest, and the summaries of its layers, the lowest first.
func Join(config *v1.ConfigFile, annotations map[string]string, layers []*Summary) Report {
	r := Report{
		Rules: Version, Platform: platform(config), User: userOf(config.Config.User),
		SetID: []File{}, Capabilities: []File{}, WorldWritable: []File{}, Programs: []Program{}, Secrets: []Secret{},
	}
	var links []link
	for _, layer := range layers {
		links = append(links, layer.Links...)
	}
	for i, layer := range layers {
		above := layers[i+1:]
		seen := func(path string) bool {
			at := placeOf(path, links)
			return !slices.ContainsFunc(above, func(s *Summary) bool { return s.index.hides(at) })
		}
		file := func(into []File, from []File) []File {
			for _, f := range from {
				if seen(f.Path) {
					into = append(into, f)
				}
			}
			return into
		}
		r.SetID = file(r.SetID, layer.SetID)
		r.Capabilities = file(r.Capabilities, layer.Capabilities)
		r.WorldWritable = file(r.WorldWritable, layer.WorldWritable)
		for _, p := range layer.Programs {
			if seen(p.Path) {
				r.Programs = append(r.Programs, p)
			}
		}
		for _, secret := range layer.Secrets {
			secret.Deleted = !seen(secret.Name)
			r.Secrets = append(r.Secrets, secret)
		}
		r.Skipped.Binary += layer.Skipped.Binary
		r.Skipped.Cut += layer.Skipped.Cut
		r.Skipped.More += layer.Skipped.More
	}
	for _, files := range [][]File{r.SetID, r.Capabilities, r.WorldWritable} {
		slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	}
	slices.SortStableFunc(r.Programs, func(a, b Program) int { return cmp.Compare(a.Path, b.Path) })
	r.Secrets = append(secretsOfConfig(config), r.Secrets...)
	r.Checks = check(&r, config, annotations)
	return r
}

func platform(config *v1.ConfigFile) string {
	text := config.OS + "/" + config.Architecture
	if config.Variant != "" {
		text += "/" + config.Variant
	}
	return text
}

func userOf(value string) User {
	name, _, _ := strings.Cut(value, ":")
	uid, err := strconv.ParseUint(name, 10, 32)
	return User{
		Value:   value,
		Root:    name == "" || name == "root" || err == nil && uid == 0,
		Numeric: err == nil,
	}
}

// secretsOfConfig gives the secrets in the image's configuration: whoever pulls the image
// has read it.
func secretsOfConfig(config *v1.ConfigFile) []Secret {
	out := []Secret{}
	add := func(in Place, name string, line int, text string, finders ...func([]byte) []int) {
		kinds := map[string]bool{}
		for _, h := range secretsIn("", []byte(text)) {
			kinds[h.kind] = true
		}
		if len(inURL([]byte(text))) > 0 {
			kinds["url-credentials"] = true
		}
		for _, find := range finders {
			if len(kinds) == 0 && len(find([]byte(text))) > 0 {
				kinds["password"] = true
			}
		}
		for kind := range kinds {
			out = append(out, Secret{Kind: kind, In: in, Name: name, Line: line})
		}
	}
	for _, variable := range config.Config.Env {
		name, _, _ := strings.Cut(variable, "=")
		add(InEnvironment, name, 0, variable, assigned)
	}
	for label, value := range config.Config.Labels {
		add(InLabel, label, 0, value)
	}
	command := slices.Concat(config.Config.Entrypoint, config.Config.Cmd, config.Config.Shell)
	if health := config.Config.Healthcheck; health != nil {
		command = append(command, health.Test...)
	}
	add(InCommand, "", 0, strings.Join(command, " "), assigned)
	for i, step := range config.History {
		add(InHistory, "", i+1, step.CreatedBy+"\n"+step.Comment, assigned)
	}
	slices.SortFunc(out, func(a, b Secret) int { return cmp.Or(cmp.Compare(a.In, b.In), compareSecrets(a, b)) })
	return out
}
