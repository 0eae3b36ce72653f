package rebase_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/build/rebase"
)

// pair is an app and the bases of a case.
type pair struct {
	old, new func(*v1.ConfigFile) // the configurations of the bases; nil leaves them
	packages string               // of the new base; "" is one package changed
	app      func(*cnb.LifecycleMetadata, *v1.ConfigFile)
	remake   func(*bed, v1.Image) v1.Image // the app; nil leaves it
	runImage string                        // --run-image; "" is none
	force    bool
	api      string // of the lifecycle's rebaser; "" is 0.15
	refused  bool
}

func label(name, value string) func(*v1.ConfigFile) {
	return func(c *v1.ConfigFile) { c.Config.Labels[name] = value }
}

func labels(all map[string]string) func(*v1.ConfigFile) {
	return func(c *v1.ConfigFile) {
		for name, value := range all {
			c.Config.Labels[name] = value
		}
	}
}

// madeBy sets the Platform API that the app was made by; "" removes it.
func madeBy(api string) func(*cnb.LifecycleMetadata, *v1.ConfigFile) {
	return func(_ *cnb.LifecycleMetadata, c *v1.ConfigFile) {
		for i, pair := range c.Config.Env {
			if strings.HasPrefix(pair, "CNB_PLATFORM_API=") {
				c.Config.Env[i] = "CNB_PLATFORM_API=" + api
			}
		}
	}
}

func onStack(id, mixins string) func(*v1.ConfigFile) {
	all := map[string]string{}
	if id != "" {
		all[cnb.StackIDLabel] = id
	}
	if mixins != "" {
		all[cnb.StackMixinsLabel] = mixins
	}
	return labels(all)
}

func onDistro(name, version string) func(*v1.ConfigFile) {
	return labels(map[string]string{cnb.DistroNameLabel: name, cnb.DistroVersionLabel: version})
}

func cases() map[string]pair {
	stack := onStack("io.test", `["set:a","b"]`)
	relabelled := func(c *v1.ConfigFile) {
		labels(map[string]string{"io.buildpacks.base.id": "new", "io.buildpacks.stack.maintainer": "x", "other": "new"})(c)
		c.Config.Env, c.Config.User = []string{"PATH=/new", "EXTRA=1"}, "0:0"
		c.Config.Entrypoint, c.OSVersion, c.Author = []string{"/new"}, "13", "base's"
	}
	return map[string]pair{
		"one package changed":               {},
		"same base":                         {packages: "libc=1 openssl=1"},
		"base with more layers":             {packages: "libc=1 openssl=2 zlib=1 tzdata=1"},
		"base with fewer layers":            {packages: "libc=2"},
		"base with nothing in common":       {packages: "musl=1 libressl=1"},
		"labels, environment, user of base": {old: labels(map[string]string{"io.buildpacks.base.id": "old", "io.buildpacks.base.gone": "x"}), new: relabelled},
		"history with empty layers": {remake: func(b *bed, app v1.Image) v1.Image {
			return b.edit(app, func(c *v1.ConfigFile) {
				c.History = append(c.History, v1.History{EmptyLayer: true, CreatedBy: "ENV x"})
				c.Author, c.Container, c.Config.Healthcheck = "me", "x", &v1.HealthConfig{Test: []string{"NONE"}}
			})
		}},
		"base without history":    {new: func(c *v1.ConfigFile) { c.History = nil }},
		"base's history too long": {new: func(c *v1.ConfigFile) { c.History = append(c.History, v1.History{CreatedBy: "x"}) }, refused: true},
		"Docker's media types": {remake: func(_ *bed, app v1.Image) v1.Image {
			return mutate.ConfigMediaType(mutate.MediaType(app, types.DockerManifestSchema2), types.DockerConfigJSON)
		}},
		"two equal layers": {remake: func(b *bed, app v1.Image) v1.Image {
			app, err := mutate.AppendLayers(app, static.NewLayer([]byte("file main"), types.OCILayer))
			b.must(err)
			return app
		}},

		"not rebasable":         {old: label(cnb.RebasableLabel, "false"), refused: true},
		"not rebasable, forced": {old: label(cnb.RebasableLabel, "false"), force: true},
		"rebasable":             {old: label(cnb.RebasableLabel, "true")},

		"other architecture":         {new: func(c *v1.ConfigFile) { c.Architecture = "arm64" }, refused: true},
		"other architecture, forced": {new: func(c *v1.ConfigFile) { c.Architecture = "arm64" }, force: true},
		"other system":               {new: func(c *v1.ConfigFile) { c.OS = "freebsd" }, refused: true},
		"variant of base alone":      {new: func(c *v1.ConfigFile) { c.Variant = "v2" }},
		"other variant":              {old: func(c *v1.ConfigFile) { c.Variant = "v1" }, new: func(c *v1.ConfigFile) { c.Variant = "v2" }, refused: true},
		"same distribution":          {old: onDistro("debian", "13"), new: onDistro("debian", "13")},
		"other distribution":         {old: onDistro("debian", "12"), new: onDistro("debian", "13"), refused: true},
		"other distribution, forced": {old: onDistro("debian", "12"), new: onDistro("debian", "13"), force: true},
		"distribution of base alone": {new: onDistro("debian", "13"), refused: true},
		"distribution of app alone":  {old: onDistro("debian", "13")},

		"made by no API, stack and mixins":     {old: stack, new: onStack("io.test", `["run:b","a","c"]`), app: madeBy("")},
		"made by 0.11, same stack":             {old: stack, new: stack, app: madeBy("0.11")},
		"made by 0.11, no stack in app":        {new: stack, app: madeBy("0.11"), refused: true},
		"made by 0.11, no stack in base":       {old: stack, app: madeBy("0.11"), refused: true},
		"made by 0.11, other stack":            {old: stack, new: onStack("io.other", `["a","b"]`), app: madeBy("0.11"), refused: true},
		"made by 0.11, other stack, forced":    {old: stack, new: onStack("io.other", `["a","b"]`), app: madeBy("0.11"), force: true, refused: true},
		"made by 0.11, mixin missing":          {old: stack, new: onStack("io.test", `["a"]`), app: madeBy("0.11"), refused: true},
		"made by 0.11, mixins not valid":       {old: stack, new: onStack("io.test", `{`), app: madeBy("0.11"), refused: true},
		"made by 0.11, not rebasable":          {old: labels(map[string]string{cnb.StackIDLabel: "s", cnb.RebasableLabel: "false"}), new: onStack("s", ""), app: madeBy("0.11")},
		"made by 0.12, stack of no account":    {old: stack, new: onStack("io.other", ""), app: madeBy("0.12")},
		"made by a later API":                  {app: madeBy("0.99")},
		"made by no version at all":            {app: madeBy("new"), refused: true},
		"by an older rebaser":                  {app: inStackOnly, api: "0.11"},
		"by an older rebaser, run image given": {runImage: "run:2", api: "0.11"},
		"by an older rebaser, stack and mixin": {old: stack, new: stack, app: madeBy("0.10"), runImage: "run:2", api: "0.7"},
		"by an older rebaser, other stack":     {old: stack, new: onStack("io.other", ""), app: madeBy("0.10"), runImage: "run:2", api: "0.10", refused: true},

		"run image given":                       {runImage: "run:2"},
		"run image given by digest":             {runImage: "run@"},
		"run image not in metadata":             {runImage: "stranger:2", refused: true},
		"run image not in metadata, forced":     {runImage: "stranger:2", force: true},
		"run image by digest, forced":           {runImage: "stranger@", force: true},
		"run image is a mirror":                 {runImage: "mirror:2", app: func(m *cnb.LifecycleMetadata, _ *v1.ConfigFile) { m.RunImage.Mirrors = []string{"HOST/mirror:2"} }},
		"run image in stack only":               {app: inStackOnly},
		"run image in stack only, given":        {app: inStackOnly, runImage: "run:2"},
		"no run image in metadata":              {app: func(m *cnb.LifecycleMetadata, _ *v1.ConfigFile) { m.RunImage.Image = "" }, refused: true},
		"no run image in metadata, given":       {app: func(m *cnb.LifecycleMetadata, _ *v1.ConfigFile) { m.RunImage.Image = "" }, runImage: "run:2", refused: true},
		"no run image in metadata, forced":      {app: func(m *cnb.LifecycleMetadata, _ *v1.ConfigFile) { m.RunImage.Image = "" }, runImage: "run:2", force: true},
		"no metadata":                           {app: metadata(""), runImage: "run:2", refused: true},
		"no metadata, forced":                   {app: metadata(""), runImage: "run:2", force: true, refused: true},
		"metadata not valid":                    {app: metadata("{"), runImage: "run:2", refused: true},
		"top layer unknown":                     {app: topLayer("sha256:" + strings.Repeat("0", 64)), refused: true},
		"top layer unknown, forced":             {app: topLayer("sha256:" + strings.Repeat("0", 64)), force: true, refused: true},
		"rebased by other means, same base":     {packages: "libc=1 openssl=1", app: func(m *cnb.LifecycleMetadata, _ *v1.ConfigFile) { m.RunImage.Reference = "sha256:1" }},
		"unknown fields in metadata are lost":   {app: metadata(`{"new":1,"runImage":{"topLayer":"TOP","image":"HOST/run:2","x":1}}`)},
		"metadata with large numbers and nulls": {app: metadata(`{"app":null,"buildpacks":[{"key":"a","layers":{"l":{"data":{"n":12345678901234567890,"s":null}}}}],"runImage":{"topLayer":"TOP","image":"HOST/run:2"}}`)},
	}
}

func inStackOnly(m *cnb.LifecycleMetadata, _ *v1.ConfigFile) {
	m.Stack, m.RunImage.RunImage = &cnb.Stack{RunImage: m.RunImage.RunImage}, cnb.RunImage{}
}

func topLayer(diffID string) func(*cnb.LifecycleMetadata, *v1.ConfigFile) {
	return func(m *cnb.LifecycleMetadata, _ *v1.ConfigFile) { m.RunImage.TopLayer = diffID }
}

// metadata sets the whole label.
func metadata(text string) func(*cnb.LifecycleMetadata, *v1.ConfigFile) {
	return func(m *cnb.LifecycleMetadata, c *v1.ConfigFile) {
		host, _, _ := strings.Cut(m.RunImage.Image, "/")
		text := strings.NewReplacer("TOP", m.RunImage.TopLayer, "HOST", host).Replace(text)
		c.Config.Labels[cnb.LifecycleMetadataLabel] = text
	}
}

// TestEqualToLifecycle rebases copies of one image by the lifecycle's own rebaser and by
// us: what it refuses we refuse, else configuration and layers are the same to the byte.
func TestEqualToLifecycle(t *testing.T) {
	program := rebaser(t)
	for name, p := range cases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			app, runImage := p.prepare(b)
			b.push("theirs:1", app)
			b.push("ours:1", app)
			args := []string{b.at("theirs:1")}
			if p.force {
				args = append([]string{"-force"}, args...)
			}
			if runImage != "" {
				args = append([]string{"-run-image", runImage}, args...)
			}
			api := p.api
			if api == "" {
				api = "0.15"
			}
			refusal := theirs(t, program, api, args...)
			ours := b.fleet(rebase.FleetOptions{RunImage: runImage, Options: rebase.Options{Force: p.force}}, "ours:1")["ours:1"]
			if (refusal != nil) != p.refused || (ours.Status == rebase.StatusFailed) != p.refused {
				t.Fatalf("want refused: %t\ntheirs: %v\nours: %+v", p.refused, refusal, ours)
			}
			if p.refused {
				if ours.Err == nil || b.digest("ours:1") != b.digest("theirs:1") {
					t.Errorf("want a reason and the image left alone, got %+v", ours)
				}
				return
			}
			if diff := cmp.Diff(facts(b, "theirs:1"), facts(b, "ours:1")); diff != "" {
				t.Errorf("theirs -, ours +:\n%s", diff)
			}
		})
	}
}

// prepare pushes the bases and gives the app, and the run image to name.
func (p pair) prepare(b *bed) (app v1.Image, runImage string) {
	old := b.run(p.old, "libc=1", "openssl=1")
	packages := p.packages
	if packages == "" {
		packages = "libc=1 openssl=2"
	}
	now := b.run(p.new, strings.Fields(packages)...)
	b.push("run:1", old)
	for _, name := range []string{"run:2", "stranger:2", "mirror:2"} {
		b.push(name, now)
	}
	app = b.app(old, b.at("run:2"), func(m *cnb.LifecycleMetadata, c *v1.ConfigFile) {
		if p.app != nil {
			p.app(m, c)
		}
		for i, mirror := range m.RunImage.Mirrors {
			m.RunImage.Mirrors[i] = strings.ReplaceAll(mirror, "HOST", b.host)
		}
	}, "main", "data")
	if p.remake != nil {
		app = p.remake(b, app)
	}
	switch {
	case p.runImage == "":
		return app, ""
	case strings.HasSuffix(p.runImage, "@"):
		repository := strings.TrimSuffix(p.runImage, "@")
		return app, b.at(repository) + ":2@" + b.digest(repository+":2")
	}
	return app, b.at(p.runImage)
}

// facts gives what must be equal: the configuration's bytes and the layers.
func facts(b *bed, ref string) []string {
	b.Helper()
	image := b.pull(ref)
	config, err := image.RawConfigFile()
	b.must(err)
	all := strings.Split(strings.ReplaceAll(string(config), ",", ",\n"), "\n")
	for _, l := range b.manifest(ref).Layers {
		all = append(all, l.Digest.String())
	}
	return all
}
