package program

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/oci"
)

// fleet makes images of three Node.js applications, all on one real base, in a registry.
type fleet struct {
	host    string // "" is the home's own store
	session *oci.Session
	base    oci.Reference // what the applications stand on
	digest  v1.Hash       // of its image
	under   *v1.Manifest  // of that image
	config  *v1.ConfigFile
	apps    [3][]ownLayer
	made    int // no two images have the same configuration
}

// ownLayer is a layer of an application.
type ownLayer struct {
	v1.Descriptor
	diffID v1.Hash
	data   []byte
}

// newFleet reads the base that the applications are to stand on.
func newFleet(b *testing.B, registries *oci.Registries, host, base string) *fleet {
	b.Helper()
	f := &fleet{host: host, session: registries.Session()}
	var err error
	f.base, err = oci.Parse(f.at(base))
	must(b, err)
	image, err := registries.Image(b.Context(), f.base, "")
	must(b, err)
	f.digest, err = image.Digest()
	must(b, err)
	f.under, err = image.Manifest()
	must(b, err)
	f.config, err = image.ConfigFile()
	must(b, err)
	for i := range f.apps {
		f.apps[i] = appLayers(b, i)
	}
	return f
}

// at gives the reference of a name there.
func (f *fleet) at(name string) string {
	if f.host == "" {
		return name
	}
	return f.host + "/" + name
}

// launch pushes n images, a third of each application, and gives their names. They name
// onto as the run image that a rebase puts them on.
func (f *fleet) launch(b *testing.B, name string, n int, onto string) []string {
	b.Helper()
	return f.launchAs(b, n, onto, func(app, i int) string { return fmt.Sprintf("%s/app%d:%d", name, app, i) })
}

// launchAs is launch with other names: those of image i, which is of the application app.
func (f *fleet) launchAs(b *testing.B, n int, onto string, named func(app, i int) string) []string {
	b.Helper()
	refs := make([]string, n)
	var group errgroup.Group
	for a, own := range f.apps {
		first := f.made + a
		group.Go(func() error {
			for i := a; i < n; i += len(f.apps) {
				refs[i] = f.at(named(a, i))
				if err := f.push(b, refs[i], own, f.at(onto), first+i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(b, group.Wait())
	f.made += n
	return refs
}

// push pushes one image, as a build would have made it.
func (f *fleet) push(b *testing.B, name string, own []ownLayer, onto string, number int) error {
	to, err := oci.Parse(name)
	if err != nil {
		return err
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: slices.Clone(f.under.Layers), Annotations: map[string]string{
		"org.opencontainers.image.source":   "https://git.example/harbour/" + to.Context().RepositoryStr(),
		"org.opencontainers.image.revision": fmt.Sprintf("%040d", number),
	}}
	for _, l := range m.Layers {
		if _, err := f.session.Copy(b.Context(), to, f.base, l); err != nil {
			return err
		}
	}
	file := f.config.DeepCopy()
	for _, l := range own {
		if _, err := f.session.PutDescribed(b.Context(), to, l.Descriptor, l.data); err != nil {
			return err
		}
		m.Layers = append(m.Layers, l.Descriptor)
		file.RootFS.DiffIDs = append(file.RootFS.DiffIDs, l.diffID)
		file.History = append(file.History, v1.History{CreatedBy: "Buildpacks Process Types"})
	}
	f.label(file, own, onto, number)
	text, err := json.Marshal(file)
	if err != nil {
		return err
	}
	if _, err := f.session.PutBlob(b.Context(), to, text); err != nil {
		return err
	}
	m.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(text))}
	if m.Config.Digest, _, err = v1.SHA256(bytes.NewReader(text)); err != nil {
		return err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = f.session.PutManifest(b.Context(), to, m.MediaType, raw)
	return err
}

// label writes what the exporter would have noted of the image.
func (f *fleet) label(file *v1.ConfigFile, own []ownLayer, onto string, number int) {
	top := f.config.RootFS.DiffIDs[len(f.config.RootFS.DiffIDs)-1].String()
	modules, bills, app := own[0].diffID.String(), own[1].diffID.String(), own[2].diffID.String()
	metadata, _ := json.Marshal(cnb.LifecycleMetadata{ // it holds nothing that cannot be encoded
		App: []cnb.LayerSHA{{SHA: app}}, SBOM: &cnb.LayerSHA{SHA: bills},
		Buildpacks: []cnb.BuildpackData{{ID: "plimsoll/nodejs", Version: "0.1.0", Layers: map[string]cnb.LayerData{"modules": {SHA: modules, Launch: true}}}},
		RunImage:   cnb.UsedRunImage{TopLayer: top, Reference: f.base.Repository() + "@" + f.digest.String(), RunImage: cnb.RunImage{Image: onto}},
	})
	file.Config.Env = append(file.Config.Env, "CNB_PLATFORM_API=0.15")
	file.Config.Labels[cnb.LifecycleMetadataLabel] = string(metadata) // beside the base's own, which say its distribution
	file.Config.Labels["org.opencontainers.image.revision"] = fmt.Sprintf("%040d", number)
}

// modules is how many packages an application brings: a small web framework's.
const modules = 150

// appLayers gives the layers of an application: its packages, what its buildpack declares
// of them, and its own code.
func appLayers(b *testing.B, number int) []ownLayer {
	b.Helper()
	files, declared := map[string]string{}, []string{}
	for i := range modules {
		name, version := fmt.Sprintf("module-%d-%d", number, i), fmt.Sprintf("%d.%d.0", 1+i%7, i%40)
		dir := "layers/plimsoll_nodejs/modules/node_modules/" + name + "/"
		files[dir+"package.json"] = packageJSON(name, version)
		files[dir+"index.js"] = strings.Repeat("module.exports.knots = knots => knots * 1.852\n", 80)
		files[dir+"README.md"] = strings.Repeat("# "+name+"\n\nTells the tides of harbours.\n", 60)
		files[dir+"LICENSE"] = strings.Repeat("Permission is hereby granted, free of charge, to any person.\n", 18)
		declared = append(declared, fmt.Sprintf(`{"type":"library","name":%q,"version":%q,"purl":"pkg:npm/%s@%s"}`, name, version, name, version))
	}
	bills := `{"bomFormat":"CycloneDX","specVersion":"1.4","components":[` + strings.Join(declared, ",") + `]}`
	return []ownLayer{
		packed(b, files),
		packed(b, map[string]string{"layers/sbom/launch/plimsoll_nodejs/modules/sbom.cdx.json": bills}),
		packed(b, map[string]string{
			"workspace/package.json": packageJSON(fmt.Sprintf("app-%d", number), "1.0.0"),
			"workspace/server.js":    strings.Repeat("require('http')\n", 100*(number+1)),
		}),
	}
}

// packageJSON is as npm installs it.
func packageJSON(name, version string) string {
	return fmt.Sprintf(`{
  "name": %q,
  "version": %q,
  "description": "Tells the tides of harbours",
  "author": "Ann Chandler <ann@harbour.example>",
  "license": "MIT",
  "repository": {"type": "git", "url": "git+https://git.example/%s.git"},
  "keywords": ["tide", "harbour"],
  "main": "index.js",
  "engines": {"node": ">=18"},
  "scripts": {"test": "node --test", "lint": "eslint ."},
  "dependencies": {"module-a": "^1.2.0", "module-b": "~3.1.4"},
  "devDependencies": {"eslint": "^9.0.0"}
}
`, name, version, name)
}

// packed gives the files as a layer.
func packed(b *testing.B, files map[string]string) ownLayer {
	b.Helper()
	var plain, small bytes.Buffer
	archive := tar.NewWriter(&plain)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		must(b, archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))}))
		_, err := archive.Write([]byte(files[name]))
		must(b, err)
	}
	must(b, archive.Close())
	var l ownLayer
	var err error
	l.diffID, _, err = v1.SHA256(bytes.NewReader(plain.Bytes()))
	must(b, err)
	w := gzip.NewWriter(&small)
	_, err = w.Write(plain.Bytes())
	must(b, err)
	must(b, w.Close())
	l.data, l.MediaType = small.Bytes(), types.OCILayer
	l.Digest, l.Size, err = v1.SHA256(bytes.NewReader(l.data))
	must(b, err)
	return l
}
