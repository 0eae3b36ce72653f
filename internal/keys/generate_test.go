package keys_test

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/keys"
)

// TestCosignTakesGenerated holds what Generate writes against the reader that cosign uses.
func TestCosignTakesGenerated(t *testing.T) {
	unset(t)
	t.Setenv("PLIMSOLL_KEY_PASSWORD", secret)
	t.Setenv("COSIGN_PASSWORD", "another")
	path := filepath.Join(t.TempDir(), "deep", "mine.key")
	chain := keys.New(keys.Options{})
	signer, err := chain.Generate(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, signer)
	text := must[[]byte](t)(os.ReadFile(path))
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(text, cryptoutils.StaticPasswordFunc([]byte(secret)))
	if err != nil {
		t.Fatal(err)
	}
	if err := cryptoutils.EqualKeys(private.(crypto.Signer).Public(), signer.PublicKey()); err != nil {
		t.Error(err)
	}
	public, err := chain.Public(t.Context(), filepath.Join(filepath.Dir(path), "mine.pub"))
	if err != nil || keys.Hint(public) != signer.Hint() {
		t.Errorf("public key beside it: %v, %v", public, err)
	}
	if info := must[os.FileInfo](t)(os.Stat(path)); info.Mode().Perm() != 0o600 {
		t.Errorf("the private key has mode %v", info.Mode())
	}
	if _, err := chain.Generate(t.Context(), path); fault.KindOf(err) != fault.Usage {
		t.Errorf("a second time: %v, want a refusal", err)
	}
	if again := must[[]byte](t)(os.ReadFile(path)); !bytes.Equal(text, again) {
		t.Error("the key was replaced")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Generate(t.Context(), path); fault.KindOf(err) != fault.Usage {
		t.Errorf("beside a public key that is left: %v, want a refusal", err)
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(path))); len(left) != 1 {
		t.Errorf("left in the folder: %v", left)
	}
}

func TestDefault(t *testing.T) {
	unset(t)
	home := t.TempDir()
	first, err := keys.New(keys.Options{}).Default(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, first.Images)
	verify(t, first.Attestations)
	if first.Images.Hint() == first.Attestations.Hint() {
		t.Error("both keys are the same")
	}
	if err := os.Remove(filepath.Join(home, "keys", "images.pub")); err != nil { // as a crash leaves it
		t.Fatal(err)
	}
	second, err := keys.New(keys.Options{}).Default(t.Context(), home)
	if err != nil || second.Images.Hint() != first.Images.Hint() || second.Attestations.Hint() != first.Attestations.Hint() {
		t.Fatalf("%v; want the keys of before", err)
	}
	other, err := os.ReadFile(filepath.Join(home, "keys", "attestations.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "keys", "images.pub"), other, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.New(keys.Options{}).Default(t.Context(), home); fault.KindOf(err) != fault.Denied {
		t.Errorf("another's public key: %v, want a denial", err)
	}
}

// TestDefaultOnceBetweenProcesses has programs make the keys of one home at the same time.
func TestDefaultOnceBetweenProcesses(t *testing.T) {
	if home := os.Getenv("TEST_KEYS_HOME"); home != "" {
		if _, err := io.ReadAll(os.Stdin); err != nil { // all start when it closes
			t.Fatal(err)
		}
		pair, err := keys.New(keys.Options{}).Default(t.Context(), home)
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("hint " + pair.Images.Hint() + pair.Attestations.Hint() + "\n")
		return
	}
	unset(t)
	start, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	var programs [4]*exec.Cmd
	var said [len(programs)]bytes.Buffer
	for i := range programs {
		programs[i] = exec.Command(os.Args[0], "-test.run=^TestDefaultOnceBetweenProcesses$")
		programs[i].Env = append(os.Environ(), "TEST_KEYS_HOME="+home)
		programs[i].Stdin, programs[i].Stdout, programs[i].Stderr = start, &said[i], &said[i]
		if err := programs[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(start.Close(), release.Close()); err != nil {
		t.Fatal(err)
	}
	var hints [len(programs)]string
	for i, program := range programs {
		if err := program.Wait(); err != nil {
			t.Errorf("%v: %s", err, said[i].String())
		}
		for line := range strings.Lines(said[i].String()) {
			if hint, ok := strings.CutPrefix(line, "hint "); ok {
				hints[i] = hint
			}
		}
	}
	for _, hint := range hints {
		if hint == "" || hint != hints[0] {
			t.Errorf("not all have the same keys: %q", hints)
		}
	}
}
