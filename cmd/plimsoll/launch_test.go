package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
)

// launch puts an app image on a base of the script's store, as buildpacks would make it:
// one layer, and metadata that names the base.
func launch(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("want launch REF BASE")
	}
	ctx := context.Background()
	store, err := registry.Open(ctx, registry.Options{Root: filepath.Join(ts.Getenv("PLIMSOLL_HOME"), "registry")})
	ts.Check(err)
	defer store.Close()
	registries := &oci.Registries{Local: func(context.Context) (http.RoundTripper, error) { return store.Transport(), nil }}
	ref, err := oci.Parse(args[0])
	ts.Check(err)
	baseRef, err := oci.Parse(args[1])
	ts.Check(err)
	base, err := registries.Image(ctx, baseRef, "amd64")
	ts.Check(err)
	image, err := app(base, baseRef)
	ts.Check(err)
	ts.Check(registries.PutImage(ctx, ref, image))
}

func app(base v1.Image, name oci.Reference) (v1.Image, error) {
	digest, err := base.Digest()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(workspace())), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	diffIDs := config.RootFS.DiffIDs
	label, err := json.Marshal(cnb.LifecycleMetadata{RunImage: cnb.UsedRunImage{
		TopLayer:  diffIDs[len(diffIDs)-2].String(),
		Reference: name.Repository() + "@" + digest.String(),
		RunImage:  cnb.RunImage{Image: name.String()},
	}})
	if err != nil {
		return nil, err
	}
	config.Config.Env = append(config.Config.Env, "CNB_PLATFORM_API=0.15")
	config.Config.Labels[cnb.LifecycleMetadataLabel] = string(label)
	return mutate.ConfigFile(image, config)
}

// workspace is a layer with a file in it.
func workspace() []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	text := []byte("app")
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "workspace/app", Mode: 0o755, Size: int64(len(text))})
	_, _ = w.Write(text)
	_ = w.Close()
	return out.Bytes()
}
