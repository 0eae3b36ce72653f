package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// shelf is an archive of changelogs at hand.
type shelf struct {
	digest  string
	texts   map[string]string // changelog by source package
	missing []string
	fail    error // after the first changelog

	mu   sync.Mutex
	read []string
}

func (s *shelf) Release() (string, string) { return "13", s.digest }

func (s *shelf) Changelogs(_ context.Context, have func(source, version, sum string) bool, read func(source, version, sum string, changelog io.Reader) error) ([]string, error) {
	var wanted []string
	for source, text := range s.texts {
		if !have(source, versionOf(text), "sum of "+versionOf(text)) {
			wanted = append(wanted, source)
		}
	}
	for i, source := range wanted {
		if i > 0 && s.fail != nil {
			return nil, s.fail
		}
		s.mu.Lock()
		s.read = append(s.read, source)
		s.mu.Unlock()
		if err := read(source, versionOf(s.texts[source]), "sum of "+versionOf(s.texts[source]), strings.NewReader(s.texts[source])); err != nil {
			return nil, err
		}
	}
	return s.missing, nil
}

func versionOf(changelog string) string {
	_, rest, _ := strings.Cut(changelog, "(")
	version, _, _ := strings.Cut(rest, ")")
	return version
}

// took gives what was read since the last time.
func (s *shelf) took() int {
	n := len(s.read)
	s.read = nil
	return n
}

func entryText(source, version, text string, n int) string {
	return fmt.Sprintf("%s (%s) trixie-security; urgency=high\n\n  * %s\n\n -- A <a@example.com>  %s\n\n", source, version, text, day(n).Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}

func newShelf(t testing.TB) (*shelf, *site) {
	archive := &shelf{digest: "1", texts: map[string]string{
		"curl":    entryText("curl", "8.14.1-2+deb13u1", "Fix CVE-2025-0001.", 2),
		"openssl": entryText("openssl", "3.5.1-1+deb13u1", "Fix CVE-2025-0002.", 3),
	}}
	s := newSite(t, "")
	s.feed = Feed{Name: "debian", Kind: Debian}
	s.options.Archive = func(context.Context, Feed) (Archive, error) { return archive, nil }
	return archive, s
}

func TestDerivesOnlyWhatIsNew(t *testing.T) {
	archive, s := newShelf(t)
	steps := []struct {
		name   string
		change func()
		read   int
		fixed  map[string]string
	}{
		{"all", func() {}, 2, map[string]string{"DEBIAN-CVE-2025-0001": "8.14.1-2+deb13u1", "DEBIAN-CVE-2025-0002": "3.5.1-1+deb13u1"}},
		{"nothing", func() {}, 0, nil},
		{"an update", func() {
			archive.digest = "2"
			archive.texts["curl"] = entryText("curl", "8.14.1-2+deb13u2", "Fix CVE-2025-0003.", 4) + archive.texts["curl"]
		}, 1, map[string]string{"DEBIAN-CVE-2025-0001": "8.14.1-2+deb13u1", "DEBIAN-CVE-2025-0002": "3.5.1-1+deb13u1", "DEBIAN-CVE-2025-0003": "8.14.1-2+deb13u2"}},
		{"one that left the archive stays true", func() {
			archive.digest = "3"
			delete(archive.texts, "openssl")
		}, 0, nil},
		{"one that the mirror lacks is asked for again", func() {
			archive.digest, archive.missing = "4", []string{"brotli 1.1.0-2+deb13u1"}
		}, 0, nil},
		{"and comes", func() {
			archive.missing = nil
			archive.texts["brotli"] = entryText("brotli", "1.1.0-2+deb13u1", "Fix CVE-2025-0004.", 5)
		}, 1, map[string]string{"DEBIAN-CVE-2025-0001": "8.14.1-2+deb13u1", "DEBIAN-CVE-2025-0002": "3.5.1-1+deb13u1", "DEBIAN-CVE-2025-0003": "8.14.1-2+deb13u2", "DEBIAN-CVE-2025-0004": "1.1.0-2+deb13u1"}},
	}
	var want map[string]string
	for _, step := range steps {
		step.change()
		before := s.status().Digest
		s.mustSync(t)
		if n := archive.took(); n != step.read {
			t.Errorf("%s: %d changelogs were read, want %d", step.name, n, step.read)
		}
		if step.fixed != nil {
			want = step.fixed
		} else if s.status().Digest != before {
			t.Errorf("%s: the records changed", step.name)
		}
		got := map[string]string{}
		for id, r := range s.have(t) {
			got[id] = r.Affected[0].Ranges[0].Events[1].Fixed
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.name, diff)
		}
		if got := s.status(); got.Rejected != len(archive.missing) {
			t.Errorf("%s: %d are told to be missing: %q", step.name, got.Rejected, got.RejectedWhy)
		}
	}
}

// TestDerivesAnewByOtherRules: what was made by other rules holds nothing up, though it may
// be newer and more.
func TestDerivesAnewByOtherRules(t *testing.T) {
	archive, s := newShelf(t)
	s.mustSync(t)
	want := s.have(t)
	p := openPart(s.folder(s.feed), string(Debian))
	wrong := some(10)
	if err := p.replace(t.Context(), entriesOf(slices.SortedFunc(maps.Values(wrong), func(a, b *osv.Record) int { return strings.Compare(a.ID, b.ID) })), nil, true); err != nil {
		t.Fatal(err)
	}
	p.Made = "0 debian"
	if err := p.save(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wrong, s.have(t)); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
	archive.took()
	s.mustSync(t)
	if diff := cmp.Diff(want, s.have(t)); diff != "" || archive.took() != 0 {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestInterruptedDerivationResumes(t *testing.T) {
	archive, s := newShelf(t)
	archive.fail = fault.Newf(fault.Unavailable, "fetch package", "x", "the mirror went away")
	if err := s.sync(t); !errors.Is(err, archive.fail) {
		t.Fatalf("want the archive's own error, got %v", err)
	}
	if n := archive.took(); n != 1 || s.status().Records != 0 {
		t.Errorf("%d changelogs were read, %d records count", n, s.status().Records)
	}
	archive.fail = nil
	s.mustSync(t)
	if n := archive.took(); n != 1 || s.status().Records != 2 {
		t.Errorf("%d changelogs were read again, %d records count", n, s.status().Records)
	}
}

func TestArchivesThatLieAboutNames(t *testing.T) {
	archive, s := newShelf(t)
	archive.texts["../../x"] = entryText("x", "1", "Fix CVE-2025-0009.", 2)
	if err := s.sync(t); fault.KindOf(err) != fault.Denied {
		t.Errorf("want it denied, got %v", err)
	}
	if s.status().Records != 0 {
		t.Error("records count")
	}
}

func TestNoArchiveIsSaid(t *testing.T) {
	_, s := newShelf(t)
	s.options.Archive = nil
	if err := s.sync(t); fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
		t.Errorf("want a usage fault with a hint, got %v", err)
	}
}
