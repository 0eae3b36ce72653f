package program

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/cyclonedx"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/spdx"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
)

// decode runs a command with -o json and reads what it prints.
func decode[T any](b *bench, args ...string) T {
	b.t.Helper()
	var out T
	if err := json.Unmarshal([]byte(b.plimsoll(append(args, "-o", "json")...)), &out); err != nil {
		b.t.Fatalf("plimsoll %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// scanned is what `scan -o json` says, as far as tests read it.
type scanned struct {
	Findings []artifact.Finding
}

// about gives the findings in packages of that name or source that a remedy mends.
func (s scanned) about(name string, remedy artifact.Remedy) []artifact.Finding {
	return slices.DeleteFunc(slices.Clone(s.Findings), func(f artifact.Finding) bool {
		return f.Remedy != remedy || f.Suppressed != nil || name != "" && f.Package.Name != name && f.Package.Source != name
	})
}

// TestLedger goes through all that is said of an image: made by default, verified, read as
// others read it, held against advisories, carried elsewhere, and refused when it is not
// what was signed.
func TestLedger(t *testing.T) {
	b := newBench(t)
	b.plimsoll("base", "build", "-f", before(b.t, "run"), "-t", "run:1")
	b.plimsoll("verify", "run:1", "--want", "signature,spdx,cyclonedx,provenance,hardening")

	t.Run("bills are read by their own readers", func(t *testing.T) {
		b := b.in(t)
		for form, parse := range map[string]func([]byte) ([]artifact.Package, error){"spdx": spdx.Parse, "cyclonedx": cyclonedx.Parse} {
			text := b.plimsoll("sbom", "run:1", "--platform", "linux/amd64", "--format", form)
			packages, err := parse([]byte(text))
			if err != nil || !slices.ContainsFunc(packages, func(p artifact.Package) bool { return p.Name == "libssl3t64" && p.Source == "openssl" }) {
				t.Errorf("%s: %d packages, %v", form, len(packages), err)
			}
			if again := b.plimsoll("sbom", "run:1", "--platform", "linux/amd64", "--format", form); again != text {
				t.Errorf("%s: the same image gives two bills", form)
			}
		}
	})

	b.plimsoll("feed", "sync")
	t.Run("findings come and go with the fix", func(t *testing.T) {
		b := b.in(t)
		before := decode[scanned](b, "scan", "run:1").about("zlib", artifact.RemedyRebuild)
		if len(before) == 0 {
			t.Fatal("the zlib of before its fix has no findings")
		}
		cve := before[0].ID
		b.refuse(fault.Denied, "scan", "run:1", "--fail-on", "fixable")
		affected := decode[inventory.Result](b, "query", "what is affected by "+cve+" and how is it fixed")
		if affected.Total != 2 || len(affected.Fixes) == 0 || affected.Fixes[0].Fixed != before[0].Fixed {
			t.Errorf("%s affects %d images, fixed by %+v; want both platforms, fixed by %s", cve, affected.Total, affected.Fixes, before[0].Fixed)
		}
		b.fix("run")
		if after := decode[scanned](b, "scan", "run:1").about("zlib", artifact.RemedyRebuild); len(after) > 0 {
			t.Errorf("after the fix: %+v", after)
		}
		if now := decode[inventory.Result](b, "query", "what is affected by "+cve); now.Total != 0 {
			t.Errorf("after the fix %d images are affected", now.Total)
		}
		b.plimsoll("verify", "run:1")
	})

	t.Run("it can be carried elsewhere", func(t *testing.T) {
		b, far := b.in(t), newBench(t)
		file := filepath.Join(t.TempDir(), "bundle.tar")
		b.plimsoll("export", "run:1", "-f", file)
		own := func(name string) string { return filepath.Join(b.home, "keys", name) }
		far.refuse(fault.Usage, "import", "-f", file) // nobody is trusted there
		stranger := filepath.Join(t.TempDir(), "stranger.key")
		t.Setenv("PLIMSOLL_KEY_PASSWORD", "a long one")
		far.plimsoll("key", "generate", stranger)
		far.refuse(fault.Denied, "import", "-f", file, "--key", strings.TrimSuffix(stranger, ".key")+".pub")
		if list := far.plimsoll("registry", "list", "-o", "json"); strings.TrimSpace(list) != "[]" {
			t.Errorf("what was not verified is there: %s", list)
		}
		trust := []string{"--key", own("images.pub"), "--attestation-key", own("attestations.pub")}
		far.plimsoll(append([]string{"import", "-f", file}, trust...)...)
		far.plimsoll(append([]string{"verify", "run:1"}, trust...)...)
		if got, want := decode[any](far, "sbom", "run:1"), decode[any](b, "sbom", "run:1"); !equalJSON(t, got, want) {
			t.Error("the image holds something else there")
		}
	})

	t.Run("another image of that name is not vouched for", func(t *testing.T) {
		b := b.in(t)
		b.retag("run:1", func(m *oci.Manifest) { m.Raw = append(m.Raw, '\n') })
		said := b.refuse(fault.Denied, "verify", "run:1")
		if !strings.Contains(said, "signature: there is none") {
			t.Errorf("it said %q", said)
		}
	})
}

// retag lets a tag name a changed manifest.
func (b *bench) retag(text string, change func(*oci.Manifest)) {
	b.t.Helper()
	local := &store{root: filepath.Join(b.home, "registry")}
	defer local.close()
	session := (&oci.Registries{Local: local.open}).Session()
	ref, err := oci.Parse(text)
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := session.Manifest(b.t.Context(), ref)
	if err != nil {
		b.t.Fatal(err)
	}
	change(&m)
	if _, err := session.PutManifest(b.t.Context(), ref, m.MediaType, m.Raw); err != nil {
		b.t.Fatal(err)
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	one, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(one) == string(other)
}

// TestStatements: what somebody signed as not to be counted is not counted, by the scan nor
// by the fleet's query; what a stranger says is not heard.
func TestStatements(t *testing.T) {
	b := newBench(t)
	b.plimsoll("base", "build", "-f", before(b.t, "run"), "-t", "run:1")
	b.plimsoll("feed", "sync")
	found := decode[scanned](b, "scan", "run:1", "--platform", "linux/amd64").about("zlib", artifact.RemedyRebuild)
	if len(found) == 0 {
		t.Fatal("the zlib of before its fix has no findings")
	}
	cve := found[0].ID
	file := filepath.Join(t.TempDir(), "vex.json")
	statement := `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/vex/1","author":"ann@example.com","timestamp":"2026-11-23T06:00:00Z","version":1,
		"statements":[{"vulnerability":{"name":"` + cve + `"},"products":[{"@id":"pkg:deb/debian/zlib1g"}],"status":"not_affected","justification":"vulnerable_code_not_in_execute_path"}]}`
	if err := os.WriteFile(file, []byte(statement), 0o644); err != nil {
		t.Fatal(err)
	}
	count := func(home *bench) int {
		return len(decode[scanned](home, "scan", "run:1", "--platform", "linux/amd64").about("zlib", artifact.RemedyRebuild))
	}
	b.plimsoll("attest", "run:1", "--platform", "linux/amd64", "--type", "vex", "--predicate", file)
	if got := count(b); got != len(found)-1 {
		t.Errorf("%d findings count, want one less than %d", got, len(found))
	}
	if now := decode[inventory.Result](b, "query", "what is affected by "+cve); now.Total != 1 {
		t.Errorf("%d images are affected, want that of the other platform alone", now.Total)
	}
	// Another home trusts other keys.
	if err := os.Rename(filepath.Join(b.home, "keys"), filepath.Join(b.home, "keys-away")); err != nil {
		t.Fatal(err)
	}
	if got := count(b); got != len(found) {
		t.Errorf("%d findings count for whom nobody's statement counts, want %d", got, len(found))
	}
}
