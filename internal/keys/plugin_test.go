package keys_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// run runs a program and gives what it says.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
	return string(out)
}

// onPath puts a shell script before all programs of the PATH.
func onPath(t *testing.T, name, script string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
}

// TestPKCS11 signs with a key in a token of SoftHSM, through the program that stands in
// kms/pkcs11.
func TestPKCS11(t *testing.T) {
	const pin = "73519004"
	tool := testbed.Tool(t, "softhsm2-util")
	testbed.Tool(t, "gcc")
	folder := t.TempDir()
	plugin := filepath.Join(folder, "plugin")
	run(t, testbed.Tool(t, "go"), "build", "-C", "../../kms/pkcs11", "-o", plugin, ".")

	config := filepath.Join(folder, "softhsm2.conf")
	if err := os.WriteFile(config, []byte("directories.tokendir = "+folder+"\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", config)
	t.Setenv("PLIMSOLL_PKCS11_MODULE", "/usr/lib/softhsm/libsofthsm2.so")
	t.Setenv("PLIMSOLL_PKCS11_PIN", pin)
	run(t, tool, "--init-token", "--free", "--label", "test", "--pin", pin, "--so-pin", "12345678")
	told := filepath.Join(folder, "told")
	onPath(t, "sigstore-kms-pkcs11", fmt.Sprintf(`echo "$@" >>%[1]s; exec %[2]s "$@" 2>>%[1]s`, told, plugin))

	for id, curve := range map[string]elliptic.Curve{"01": elliptic.P256(), "02": elliptic.P384()} {
		name := "key" + id
		private := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(curve, rand.Reader))
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, block("PRIVATE KEY", pkcs8(t, private)), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, tool, "--import", file, "--token", "test", "--label", name, "--id", id, "--pin", pin)
		chain := keys.New(keys.Options{})
		for _, uri := range []string{"pkcs11:token=test;object=" + name, "pkcs11://token=test;object=" + name} {
			signer, err := chain.Signer(t.Context(), uri)
			if err != nil {
				t.Fatal(err)
			}
			if signer.Hint() != keys.Hint(private.Public()) {
				t.Errorf("%s: another key", uri)
			}
			verify(t, signer)
			public, err := chain.Public(t.Context(), uri)
			if err != nil || keys.Hint(public) != signer.Hint() {
				t.Errorf("public key: %v, %v", public, err)
			}
		}
	}
	if text := string(must[[]byte](t)(os.ReadFile(told))); !strings.Contains(text, "token=test") || strings.Contains(text, pin) {
		t.Errorf("arguments and logs hold the PIN, or nothing: %s", text)
	}

	t.Setenv("PLIMSOLL_PKCS11_PIN", "00000000")
	_, err := keys.New(keys.Options{}).Signer(t.Context(), "pkcs11:token=test;object=key01")
	if err == nil || !strings.Contains(err.Error(), "pkcs11:token=") || !strings.Contains(fault.HintOf(err), "PIN") || strings.Contains(err.Error(), "00000000") {
		t.Errorf("wrong PIN: %v", err)
	}
}

// TestPluginsThatMisbehave holds every answer of a foreign program to an error.
func TestPluginsThatMisbehave(t *testing.T) {
	for _, c := range []struct {
		name, script string
		kind         fault.Kind
	}{
		{"garbage", `echo garbage`, fault.Unavailable},
		{"nothing", `exit 0`, fault.Unavailable},
		{"empty", `echo '{}'`, fault.Unavailable},
		{"not a key", `echo '{"publicKey":{"publicKeyPEM":"Z2FyYmFnZQ=="}}'`, fault.Unavailable},
		{"failure", `printf %s '{"errorMessage":"no\nway"}'; exit 1`, fault.Failed},
		{"long answer", `printf '{"errorMessage":"%0100000d"}' 1`, fault.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			onPath(t, "sigstore-kms-odd", c.script)
			_, err := keys.New(keys.Options{}).Signer(t.Context(), "odd://key")
			if err == nil || fault.KindOf(err) != c.kind || fault.HintOf(err) == "" {
				t.Fatalf("%v, want kind %d with a hint", err, c.kind)
			}
			if text := err.Error(); len(text) > 1000 || strings.Contains(text, "\n") {
				t.Errorf("%d bytes: %.200s", len(text), text)
			}
		})
	}
}

func TestPluginThatHangs(t *testing.T) {
	onPath(t, "sigstore-kms-slow", `exec sleep 600`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := keys.New(keys.Options{}).Signer(ctx, "slow://key"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v, want an Unavailable", err)
	}
}
