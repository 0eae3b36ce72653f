package program_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestRegistryImportVerifies takes images in from another home's registry: those that somebody
// signed whom the import names, with what he said of them, and no others.
func TestRegistryImportVerifies(t *testing.T) {
	theirs, home := t.TempDir(), t.TempDir()
	addr, stop := served(t, theirs)
	for _, tag := range []string{"1.0.0", "1.1.0"} {
		pushTo(t, addr+"/team/app:"+tag)
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
	write(t, file, text)
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

// TestRegistryImportIsJudged holds what is taken in against the home's policies, before a tag names it.
func TestRegistryImportIsJudged(t *testing.T) {
	theirs, home := t.TempDir(), t.TempDir()
	addr, stop := served(t, theirs)
	defer stop()
	pushTo(t, addr+"/team/app:1")
	file := filepath.Join(home, "imports", "app.yaml")
	write(t, file, fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: ImageImport\nmetadata: {name: app}\nspec:\n  source: %s/team/app\n  tags: {names: ['1']}\n  destination: {repository: approved/app}\n", addr))
	denyUnless(t, home, `"maker" in image.labels`)
	if out := command(t, home, 3, "registry", "import"); !strings.Contains(out, "denied") || !strings.Contains(out, "It says who made it") {
		t.Errorf("got\n%s", out)
	}
	if out := command(t, home, 0, "registry", "list"); strings.Contains(out, "approved/app") {
		t.Errorf("what is denied has a name:\n%s", out)
	}
	denyUnless(t, home, `!("maker" in image.labels)`)
	if out := command(t, home, 0, "registry", "import"); !strings.Contains(out, "imported") {
		t.Errorf("got\n%s", out)
	}
	if out := command(t, home, 0, "query", "images"); !strings.Contains(out, "approved/app:1") {
		t.Errorf("the inventory does not know it:\n%s", out)
	}
}

// pushTo pushes a random image that a runtime could start.
func pushTo(t *testing.T, reference string) {
	t.Helper()
	made, err := random.Image(2000, 2)
	if err == nil {
		made, err = mutate.ConfigFile(made, withPlatform(t, made))
	}
	if err != nil {
		t.Fatal(err)
	}
	to, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to, mutate.ConfigMediaType(mutate.MediaType(made, types.OCIManifestSchema1), types.OCIConfigJSON)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
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

// TestProxyFirstPullIsJudged pulls through a project that stands for another registry: the first
// pull gets what the policies let it, as every other does.
func TestProxyFirstPullIsJudged(t *testing.T) {
	for _, c := range []struct{ name, expression, want string }{
		{"allowed", `!("maker" in image.labels)`, ""},
		{"denied", `"maker" in image.labels`, "It says who made it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			theirs, home := t.TempDir(), t.TempDir()
			addr, stopTheirs := served(t, theirs)
			defer stopTheirs()
			pushTo(t, addr+"/team/app:1")
			upstream, err := name.ParseReference(addr + "/team/app:1")
			if err != nil {
				t.Fatal(err)
			}
			d, err := remote.Head(upstream)
			if err != nil {
				t.Fatal(err)
			}
			denyUnless(t, home, c.expression)
			write(t, filepath.Join(home, "registry.yaml"), fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec:\n  projects:\n  - name: hub\n    public: true\n    proxy: {source: %s}\n", addr))
			here, stop := served(t, home)
			defer stop()
			for _, reference := range []string{"/hub/team/app:1", "/hub/team/app@" + d.Digest.String(), "/hub/team/app:1"} {
				ref, err := name.ParseReference(here + reference)
				if err != nil {
					t.Fatal(err)
				}
				image, err := remote.Image(ref)
				if err == nil {
					err = validate.Image(image)
				}
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), "DENIED") || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%s: got %v, want %q", reference, err, c.want)
				}
			}
		})
	}
}

// denyUnless gives the home a policy whose one rule an image must pass to be pulled.
func denyUnless(t *testing.T, home, expression string) {
	t.Helper()
	write(t, filepath.Join(home, "policies", "all.yaml"), fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: all}\nspec:\n  gates: {registry: deny}\n  rules:\n  - {name: labelled, title: It says who made it, reason: Somebody must answer for it, expression: '%s'}\n", expression))
}

// TestRegistryImportKeepsTagsThatDoNotMove: what a project fixes, no import moves.
func TestRegistryImportKeepsTagsThatDoNotMove(t *testing.T) {
	theirs, home := t.TempDir(), t.TempDir()
	addr, stop := served(t, theirs)
	defer stop()
	write(t, filepath.Join(home, "registry.yaml"), "apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec:\n  projects:\n  - name: approved\n    immutableTags: ['1.*']\n")
	write(t, filepath.Join(home, "imports", "app.yaml"), fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: ImageImport\nmetadata: {name: app}\nspec:\n  source: %s/team/app\n  tags: {patterns: ['*']}\n  destination: {repository: approved/app}\n", addr))
	for _, c := range []struct {
		code     int
		fixed    string
		floating string
	}{{0, "imported", "imported"}, {3, "denied", "imported"}} {
		pushTo(t, addr+"/team/app:1.0")
		pushTo(t, addr+"/team/app:latest")
		out := command(t, home, c.code, "registry", "import", "-o", "json")
		var reports []struct {
			Tags []struct{ Tag, Result, Why string }
		}
		if err := json.Unmarshal([]byte(out), &reports); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, tag := range reports[0].Tags {
			got[tag.Tag] = tag.Result
		}
		if diff := cmp.Diff(map[string]string{"1.0": c.fixed, "latest": c.floating}, got); diff != "" {
			t.Errorf("%s\n%s", diff, out)
		}
	}
}
