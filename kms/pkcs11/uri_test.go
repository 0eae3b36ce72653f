package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]uri{
		"token=a;object=b":                                      {token: "a", label: "b"},
		"pkcs11:token=a;id=%01%ff":                              {token: "a", id: "\x01\xff"},
		"pkcs11://serial=1;object=b%20c;type=private":           {serial: "1", label: "b c"},
		"model=m;manufacturer=n;serial=1;token=a;object=b":      {token: "a", serial: "1", label: "b"},
		"token=a;object=b?module-path=/lib/x.so":                {token: "a", label: "b", module: "/lib/x.so"},
		"token=a;object=b?pin-source=file:/p&module-path=/x.so": {token: "a", label: "b", module: "/x.so", pinFile: "/p"},
		"token=a;object=b?pin-source=file:///p":                 {token: "a", label: "b", pinFile: "/p"},
	} {
		if got, err := parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"":                                       "serial=NUMBER",
		"object=b":                               "serial=NUMBER",
		"token=a;model=m;object=b":               "without model",
		"token=a":                                "object=LABEL",
		"token=a;object=b;token=c":               "twice",
		"token=a;object=b;slot-id=1":             "not known",
		"token=a;object=b;type=cert":             "type",
		"token=a;object=%zz":                     "no value",
		"token=a;object=":                        "no value",
		"token=a;object=b?pin-value=0000":        "holds a PIN",
		"token=a;object=b?pin-source=|cat%20pin": "absolute path",
		"token=a;object=b?pin-source=file:pin":   "absolute path",
		"token=a;object=b?module-path=x.so":      "not absolute",
		"token=a;object=b?module-name=x":         "not known",
	} {
		if got, err := parse(text); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "0000") {
			t.Errorf("%s: %+v, %v; want an error with %q", text, got, err, says)
		}
	}
}

func TestPIN(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(file, []byte("1234\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(long, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PLIMSOLL_PKCS11_PIN", "")
	t.Setenv("COSIGN_PKCS11_PIN", "")
	for _, u := range []uri{{}, {pinFile: long}, {pinFile: file + "x"}} {
		if pin, err := u.pin(); err == nil {
			t.Errorf("%+v: %q, want an error", u, pin)
		}
	}
	if pin, err := (uri{pinFile: file}).pin(); err != nil || pin != "1234" {
		t.Errorf("of a file: %q, %v", pin, err)
	}
	t.Setenv("COSIGN_PKCS11_PIN", "5678")
	if pin, err := (uri{}).pin(); err != nil || pin != "5678" {
		t.Errorf("of cosign's variable: %q, %v", pin, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("pkcs11:token=a;object=b;id=%01?module-path=/x.so&pin-source=file:/p")
	f.Add("token=a;object=b?pin-value=1")
	f.Add("token=a;object=pin-value=")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parse(text)
		if err != nil {
			return
		}
		_, query, _ := strings.Cut(text, "?")
		if u.token+u.serial == "" || u.label+u.id == "" || strings.Contains("&"+query, "&pin-value") {
			t.Errorf("%q gives %+v", text, u)
		}
	})
}
