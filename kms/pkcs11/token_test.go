package main

import (
	"bytes"
	"crypto"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
)

const (
	library = "/usr/lib/softhsm/libsofthsm2.so"
	pin     = "73519004"
)

// softToken makes a token of SoftHSM, which the environment then names.
func softToken(t *testing.T) {
	t.Helper()
	tool, err := exec.LookPath("softhsm2-util")
	if err != nil {
		t.Fatal("softhsm2-util is not installed: run `make setup`")
	}
	folder := t.TempDir()
	config := filepath.Join(folder, "softhsm2.conf")
	text := "directories.tokendir = " + folder + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", config)
	t.Setenv("PLIMSOLL_PKCS11_MODULE", library)
	t.Setenv("PLIMSOLL_PKCS11_PIN", pin)
	made := exec.Command(tool, "--init-token", "--free", "--label", "test", "--pin", pin, "--so-pin", "12345678")
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// ask runs the program's work with one request, as sigstore's client writes it.
func ask(t *testing.T, key, method string, arguments any, message string) (common.PluginResp, error) {
	t.Helper()
	request, err := json.Marshal(map[string]any{
		"initOptions": common.InitOptions{ProtocolVersion: "v1", KeyResourceID: key, HashFunc: crypto.SHA256, RPCOptions: &common.RPCOptions{}},
		"methodName":  method,
		method:        arguments,
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	var answered common.PluginResp
	if err := answer([]string{"sigstore-kms-pkcs11", "v1", string(request)}, strings.NewReader(message), &out); err != nil {
		return answered, err
	}
	if err := json.Unmarshal(out.Bytes(), &answered); err != nil {
		t.Fatal(err)
	}
	return answered, nil
}

func TestKeyLivesInToken(t *testing.T) {
	softToken(t)
	for _, algorithm := range []string{"ecdsa-sha2-256-nistp256", "ecdsa-sha2-384-nistp384"} {
		t.Run(algorithm, func(t *testing.T) {
			key := "token=test;object=" + algorithm
			create := common.CreateKeyArgs{Algorithm: algorithm}
			if none, err := ask(t, key, "publicKey", common.PublicKeyArgs{PublicKeyOptions: &common.PublicKeyOptions{}}, ""); err != nil || !strings.Contains(none.ErrorMessage, "no such key") {
				t.Fatalf("before there is one: %+v, %v", none, err)
			}
			made, err := ask(t, key, "createKey", create, "")
			if err != nil || made.CreateKey == nil {
				t.Fatalf("%+v, %v", made, err)
			}
			if again, err := ask(t, key, "createKey", create, ""); err != nil || again.ErrorMessage == "" {
				t.Errorf("a second key of the name: %+v, %v; want a refusal", again, err)
			}
			public, err := cryptoutils.UnmarshalPEMToPublicKey(made.CreateKey.PublicKeyPEM)
			if err != nil {
				t.Fatal(err)
			}
			const message = "a message"
			signed, err := ask(t, key, "signMessage", common.SignMessageArgs{SignOptions: &common.SignOptions{MessageOptions: common.MessageOptions{}}}, message)
			if err != nil || signed.SignMessage == nil {
				t.Fatalf("%+v, %v", signed, err)
			}
			verifier, err := signature.LoadVerifier(public, crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			sig := signed.SignMessage.Signature
			if err := verifier.VerifySignature(bytes.NewReader(sig), strings.NewReader(message)); err != nil {
				t.Error(err)
			}
			check := common.VerifySignatureArgs{Signature: sig, VerifyOptions: &common.VerifyOptions{MessageOptions: common.MessageOptions{}}}
			if said, err := ask(t, key, "verifySignature", check, message); err != nil || said.ErrorMessage != "" {
				t.Errorf("the plugin does not verify its own: %+v, %v", said, err)
			}
			if said, err := ask(t, key, "verifySignature", check, message+"!"); err != nil || said.ErrorMessage == "" {
				t.Errorf("another message verifies: %+v, %v", said, err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	softToken(t)
	for _, c := range []struct{ name, key, pin, module, says string }{
		{"wrong PIN", "token=test;object=a", "00000000", library, "PIN"},
		{"no PIN", "token=test;object=a", "", library, "PLIMSOLL_PKCS11_PIN"},
		{"no such token", "token=none;object=a", pin, library, "token"},
		{"no library", "token=test;object=a", pin, "", "PLIMSOLL_PKCS11_MODULE"},
		{"no such library", "token=test;object=a", pin, "/none.so", "no such file"},
		{"bad URI", "object=a", pin, library, "URI"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("PLIMSOLL_PKCS11_PIN", c.pin)
			t.Setenv("PLIMSOLL_PKCS11_MODULE", c.module)
			_, err := ask(t, c.key, "publicKey", common.PublicKeyArgs{PublicKeyOptions: &common.PublicKeyOptions{}}, "")
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v; want an error with %q", err, c.says)
			}
			if c.pin != "" && strings.Contains(err.Error(), c.pin) {
				t.Errorf("the error tells the PIN: %v", err)
			}
		})
	}
}

func TestStrangers(t *testing.T) {
	for name, args := range map[string][]string{
		"a person":         {"sigstore-kms-pkcs11"},
		"another protocol": {"sigstore-kms-pkcs11", "v2", "{}"},
		"not JSON":         {"sigstore-kms-pkcs11", "v1", "{"},
		"nothing asked":    {"sigstore-kms-pkcs11", "v1", "{}"},
	} {
		if err := answer(args, strings.NewReader(""), &bytes.Buffer{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
