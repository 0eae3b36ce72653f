package program_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPoliciesAreInTheLog: which policies decide, and which file was changed for that, is written
// down, and a copy of the log can be verified elsewhere, where nothing is of its home but a key.
func TestPoliciesAreInTheLog(t *testing.T) {
	u := keep(t, "")
	u.run(0, "policy", "add", "baseline")
	listed := func(want string) func() bool {
		return func() bool {
			return strings.Contains(u.run(0, "registry", "audit", "list", "-o", "json"), want)
		}
	}
	u.mended("the first policies", listed(`"why": "taken up by a server that began to judge"`))
	u.run(0, "policy", "except", "late", "--rule", "baseline/*", "--repository", "team/**", "--owner", "ann", "--reason", "a test", "--expires", "2099-01-01")
	u.mended("an exception", listed(`"why": "changed: exception-late.yaml"`))
	u.stop()

	copied, elsewhere := t.TempDir(), t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(filepath.Join(u.home, "audit"))); err != nil {
		t.Fatal(err)
	}
	verify := []string{"registry", "audit", "verify", "--folder", copied}
	var errs bytes.Buffer
	if out, code := typed(context.Background(), elsewhere, &errs, verify...); code != 1 || !strings.Contains(out, "only its chain holds") || !strings.Contains(errs.String(), "--key") {
		t.Errorf("without a key: exit %d\n%s%s", code, out, errs.String())
	}
	if out, code := typed(context.Background(), elsewhere, &errs, append(verify, "--key", filepath.Join(u.home, "keys", "attestations.pub"))...); code != 0 {
		t.Errorf("with the key: exit %d\n%s%s", code, out, errs.String())
	}
}
