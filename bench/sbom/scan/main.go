// Command scan takes an OCI layout with one image and writes its bill of materials to
// standard output, so that the work can be measured as a process beside peers.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"

	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/cyclonedx"
)

func main() {
	cache := flag.String("cache", "", "folder for what is known of layers")
	flag.Parse()
	if err := run(context.Background(), flag.Arg(0), *cache); err != nil {
		fmt.Fprintln(os.Stderr, "scan:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, cache string) error {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if len(manifest.Manifests) != 1 {
		return fmt.Errorf("%s has %d images, want one", dir, len(manifest.Manifests))
	}
	found, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	image, err := sbom.ImageOf(found)
	if err != nil {
		return err
	}
	contents, err := sbom.New(sbom.Options{Cache: cache}).Contents(ctx, image)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(cyclonedx.Encode(contents, bill.About{Name: "bench", Created: time.Unix(0, 0)}))
	return err
}
