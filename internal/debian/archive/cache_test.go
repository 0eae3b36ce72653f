package archive

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

func TestRollbackIsRemembered(t *testing.T) {
	a := debarchive.New(t, hello())
	r := newReader(t, a, "")
	if _, err := r.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := hello()
	old.Date = time.Now().Add(-48 * time.Hour)
	a.Rewrite(t, old)
	for range 2 { // each is a new start: nothing but the state folder joins them
		_, err := r.read(t.Context())
		checkFault(t, err, fault.Denied, "rollback", "test")
		r.mirror += "/" // another way to write the same mirror
	}
	newer := hello()
	newer.Date = time.Now().Add(-time.Minute)
	a.Rewrite(t, newer)
	if _, err := r.read(t.Context()); err != nil {
		t.Fatalf("a newer one after the attack: %v", err)
	}
	r.mirror = a.Serve(t, nil).URL
	a.Rewrite(t, old)
	if _, err := r.read(t.Context()); err != nil {
		t.Errorf("each mirror has a memory of its own: %v", err)
	}
}

func TestDamagedMemoryIsRefused(t *testing.T) {
	a := debarchive.New(t, hello())
	r := newReader(t, a, "")
	if _, err := r.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range files(t, r.state) {
		if strings.HasSuffix(name, ".json") {
			if err := os.WriteFile(filepath.Join(r.state, name), []byte(`{"da`), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err := r.read(t.Context())
	checkFault(t, err, fault.Failed, "date last seen")
}

func TestManyReadersAtOnce(t *testing.T) {
	a := debarchive.New(t, hello())
	shared := newReader(t, a, a.Serve(t, nil).URL)
	var group sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		group.Go(func() {
			mine := *shared
			paths, err := mine.read(t.Context())
			if err == nil && len(paths) != 2 {
				err = errors.New("packages are missing")
			}
			errs[i] = err
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files(t, shared.cache), files(t, shared.state)...) {
		if strings.Contains(name, "aside") {
			t.Errorf("%s is left over", name)
		}
	}
}

func TestFullOrReadOnlyCacheIsNoTampering(t *testing.T) {
	a := debarchive.New(t, hello())
	r := newReader(t, a, "")
	// A file where a folder should be cannot be written below, not even by root.
	if err := os.WriteFile(r.cache, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := r.read(t.Context())
	checkFault(t, err, fault.Failed, "cache")
}

func TestCachedPackageIsCheckedAgain(t *testing.T) {
	a := debarchive.New(t, hello())
	r := newReader(t, a, "")
	paths, err := r.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(paths["hello"])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths["hello"], debarchive.Flip([]byte(string(want))), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(paths["hello"])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("a package that rotted in the cache was used")
	}
}

func TestDamagedIndexIsBuiltAgain(t *testing.T) {
	a := debarchive.New(t, hello())
	r := newReader(t, a, "")
	if _, err := r.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range files(t, filepath.Join(r.cache, "index")) {
		if err := os.Truncate(filepath.Join(r.cache, "index", name), 40); err != nil {
			t.Fatal(err)
		}
	}
	if paths, err := r.read(t.Context()); err != nil || len(paths) != 2 {
		t.Fatal(paths, err)
	}
}
