package program_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestRegistryImportVerifies takes images in from another home's registry: those that somebody
// signed whom the import names, with what he said of them, and no others.
func TestRegistryImportVerifies(t *testing.T) {
	theirs, home := t.TempDir(), t.TempDir()
	addr, stop := served(t, theirs)
	for _, tag := range []string{"1.0.0", "1.1.0"} {
		made, err := random.Image(2000, 2)
		if err == nil {
			made, err = mutate.ConfigFile(made, withPlatform(t, made))
		}
		if err != nil {
			t.Fatal(err)
		}
		to, err := name.ParseReference(addr + "/team/app:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(to, mutate.ConfigMediaType(mutate.MediaType(made, types.OCIManifestSchema1), types.OCIConfigJSON)); err != nil {
			t.Fatal(err)
		}
	}
	command(t, theirs, 0, "attest", addr+"/team/app:1.1.0")

	file := filepath.Join(home, "app.yaml")
	text := fmt.Sprintf(`apiVersion: plimsoll.dev/v1alpha1
kind: ImageImport
metadata: {name: app}
spec:
  source: %s/team/app
  tags: {semver: ">=1"}
  destination: {repository: approved/app}
  verify:
    keys: [%s/keys/images.pub]
    attestationKeys: [%s/keys/attestations.pub]
    want: [signature, spdx]
`, addr, theirs, theirs)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := command(t, home, 3, "registry", "import", "-f", file, "--dry-run")
	if !strings.Contains(out, "would import") || !strings.Contains(out, "denied") {
		t.Errorf("a dry run says\n%s", out)
	}
	if out := command(t, home, 0, "registry", "list"); strings.Contains(out, "approved") {
		t.Errorf("a dry run brought\n%s", out)
	}
	out = command(t, home, 3, "registry", "import", "-f", file)
	if !strings.Contains(out, "signature: ") {
		t.Errorf("it does not say what is missing:\n%s", out)
	}
	out = command(t, home, 0, "registry", "list")
	if !strings.Contains(out, "1.1.0") || strings.Contains(out, "1.0.0") {
		t.Errorf("it brought\n%s", out)
	}
	// What was said of it there is here, too, and is believed by whom one believes.
	command(t, home, 0, "verify", "approved/app:1.1.0", "--key", theirs+"/keys/images.pub", "--attestation-key", theirs+"/keys/attestations.pub", "--want", "signature,spdx,cyclonedx")
	stop()

	// The source is gone, what is here stays, and the run says so.
	command(t, home, 1, "registry", "import", "-f", file)
	command(t, home, 0, "inspect", "approved/app:1.1.0")
	if err := os.MkdirAll(filepath.Join(home, "imports"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file, filepath.Join(home, "imports", "app.yaml")); err != nil {
		t.Fatal(err)
	}
	if out := command(t, home, 0, "registry", "imports"); !strings.Contains(out, "approved/app") || !strings.Contains(out, "ask registry") {
		t.Errorf("the state is\n%s", out)
	}
}

// withPlatform gives the image's configuration with a platform, which random ones lack.
func withPlatform(t *testing.T, of v1.Image) *v1.ConfigFile {
	t.Helper()
	file, err := of.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", "amd64"
	return file
}

// command types one, wants its exit code, and gives what it wrote.
func command(t *testing.T, home string, want int, args ...string) string {
	t.Helper()
	var errs bytes.Buffer
	out, code := typed(t.Context(), home, &errs, args...)
	if code != want {
		t.Fatalf("plimsoll %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs.String())
	}
	return out
}
