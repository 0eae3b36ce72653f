package verify

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/oci"
)

// TestVerifyLeavesNothingOut: what an index names and verify does not look at must not pass
// as verified.
func TestVerifyLeavesNothingOut(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true)))
	defer server.Close()
	registries := &oci.Registries{Agent: "test"}
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	with := func(index v1.ImageIndex, add mutate.Appendable, platform v1.Platform) v1.ImageIndex {
		return mutate.AppendManifests(index, mutate.IndexAddendum{Add: add, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	here, nobody := v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "unknown", Architecture: "unknown"}
	one := with(empty.Index, image, here)
	for name, c := range map[string]struct {
		index   v1.ImageIndex
		refused string
	}{
		"an image":             {one, ""},
		"an image and another": {with(one, image, nobody), ""},
		"an index below":       {with(one, one, here), "no image: sha256:"},
		"nothing":              {empty.Index, "names no image"},
		"nothing that runs":    {with(empty.Index, image, nobody), "names no image"},
	} {
		t.Run(name, func(t *testing.T) {
			ref, err := oci.Parse(strings.TrimPrefix(server.URL, "http://") + "/" + strings.ReplaceAll(name, " ", "-") + ":1")
			if err != nil {
				t.Fatal(err)
			}
			if err := registries.PutIndex(t.Context(), ref, c.index); err != nil {
				t.Fatal(err)
			}
			got, err := All(t.Context(), registries.Session(), ref, attest.Trust{}, []string{artifact.PredicateSPDX})
			switch {
			case c.refused == "" && (err != nil || len(got.Parts) != 2 || got.Verified):
				t.Errorf("%+v, %v; want the index and its image, neither verified", got, err)
			case c.refused != "" && (fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("%v, want a refusal that says %q", err, c.refused)
			}
		})
	}
}

// TestInfectedIsDenied: a malware report that is verified and says that there is some must not
// pass as "malware: yes" where it is wanted.
func TestInfectedIsDenied(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true)))
	defer server.Close()
	registries := &oci.Registries{Agent: "test"}
	ref, err := oci.Parse(strings.TrimPrefix(server.URL, "http://") + "/app:1")
	if err != nil {
		t.Fatal(err)
	}
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := registries.PutImage(t.Context(), ref, image); err != nil {
		t.Fatal(err)
	}
	d, err := partial.Descriptor(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PLIMSOLL_KEY_PASSWORD", "")
	signer, err := keys.New(keys.Options{}).Generate(t.Context(), filepath.Join(t.TempDir(), "a.key"))
	if err != nil {
		t.Fatal(err)
	}
	trust := attest.Trust{Images: attest.Trusted{Keys: []attest.Key{{Name: "a", Public: signer.PublicKey()}}}}
	for _, c := range []struct{ report, says, refused string }{
		{`{"result":"clean","layers":[]}`, "clean", ""},
		{`{"result":"incomplete","layers":[{"unscanned":[{"path":"a"}]}]}`, "incomplete: 1 file not scanned", ""},
		{`{"result":"infected","layers":[{"infected":[{"path":"a"}]}]}`, "infected: 1 file", "malware: infected: 1 file"},
	} {
		e := artifact.Evidence{Subject: d.Digest.String(), PredicateType: artifact.PredicateMalware, Predicate: []byte(c.report)}
		if _, err := attest.Issue(t.Context(), registries.Session(), ref, *d, []artifact.Evidence{e}, attest.Signers{Images: signer}, attest.Options{}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{artifact.PredicateMalware, artifact.PredicateVEX} {
			got, err := All(t.Context(), registries.Session(), ref, trust, []string{want})
			if err != nil {
				t.Fatal(err)
			}
			if says := got.Parts[0].Checks[0].Says; says != c.says {
				t.Errorf("it says %q, want %q", says, c.says)
			}
			refused := want == artifact.PredicateMalware && c.refused != ""
			if has := len(got.Parts[0].Refused) > 0; has != refused || refused && (got.Verified || !strings.Contains(got.Err().Error(), c.refused)) {
				t.Errorf("%s, want %s: %+v", c.report, want, got)
			}
		}
	}
}
