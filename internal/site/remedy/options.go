package remedy

import (
	"context"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/update"
	"plimsoll.dev/plimsoll/internal/update/imagetest"
)

// Options gives what an engine needs to know of the home, and its Remedier. Nothing is built here.
func (h Home) Options() update.Options {
	return update.Options{
		Remedier: h, Signer: Signer{h.Site.Home},
		Plan: update.PlanOptions{Builds: func(string) bool { return false }, BaseBytes: h.BaseBytes},
	}
}

// BaseBytes gives how many bytes of layers one image of the repository has that another has not.
func (h Home) BaseBytes(ctx context.Context, name, from, to string) (int64, error) {
	had := map[v1.Hash]bool{}
	before, err := h.layers(ctx, name, from)
	if err != nil && fault.KindOf(err) != fault.NotFound { // what is gone has nothing
		return 0, err
	}
	for _, layer := range before {
		had[layer.Digest] = true
	}
	after, err := h.layers(ctx, name, to)
	var bytes int64
	for _, layer := range after {
		if !had[layer.Digest] {
			bytes += layer.Size
		}
	}
	return bytes, err
}

func (h Home) layers(ctx context.Context, name, digest string) ([]v1.Descriptor, error) {
	ref, err := oci.Parse(name)
	if err != nil {
		return nil, err
	}
	hash, err := v1.NewHash(digest)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read base", name, err)
	}
	image, err := h.Site.Registries.Image(ctx, ref.At(hash), "")
	if err != nil {
		return nil, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, fault.New(fault.Failed, "read base", name, err)
	}
	return manifest.Layers, nil
}

// Signer is an update.Signer with the home's key for attestations. Where the home signs for an
// identity instead, reports go unsigned: their envelopes have no place for certificates.
type Signer struct{ Home *home.Home }

// Sign implements update.Signer.
func (s Signer) Sign(ctx context.Context, payloadType string, payload []byte) ([]byte, error) {
	signers, err := s.Home.Signers(ctx)
	if err != nil {
		return nil, err
	}
	key := signers.Attestations
	if key == nil {
		key = signers.Images
	}
	if key == nil {
		return attest.Unsigned(payloadType, payload)
	}
	return attest.Enclose(ctx, key, payloadType, payload)
}

// Verify gives the name of the key of those whom the home believes that signed a report.
func (s Signer) Verify(ctx context.Context, envelope []byte) (by string, err error) {
	trust, err := s.Home.Trust(ctx, home.Named{})
	if err != nil {
		return "", err
	}
	_, by, err = attest.Disclose(trust, update.ReportType, envelope)
	if err != nil {
		return "", fault.New(fault.Denied, "verify the report", "", err).WithHint("signing.yaml says whose keys are trusted: docs/signing.md")
	}
	return by, nil
}

// Tester is an update.Tester in the site's sandbox, which is opened when a test first needs it.
type Tester struct {
	Site  *site.Site
	Steps executor.Executor // nil is the site's own
	Probe string            // path of the program that asks images over HTTP; where there is none such tests fail
}

// Test implements update.Tester.
func (t Tester) Test(ctx context.Context, reference, digest string, test v1alpha1.ImageTest) error {
	steps := t.Steps
	if steps == nil {
		var err error
		if steps, err = t.Site.Steps(); err != nil {
			return err
		}
	}
	tester := imagetest.Tester{Executor: steps, Registries: t.Site.Registries}
	if _, err := os.Stat(t.Probe); err == nil {
		tester.Probe = t.Probe
	}
	return tester.Test(ctx, reference, digest, test)
}

// Probe gives the path of the program that asks images over HTTP, in a folder of parts.
func Probe(parts string) string {
	return filepath.Join(parts, "probe", "linux", runtime.GOARCH, "probe")
}
