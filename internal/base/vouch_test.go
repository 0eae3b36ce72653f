package base_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// TestLockIsHeldAgainstTheArchive asks what the signed archive says of locked packages.
func TestLockIsHeldAgainstTheArchive(t *testing.T) {
	saved := func(b *bed) string {
		file := filepath.Join(t.TempDir(), "base.lock")
		if err := b.build().Lock.Save(file); err != nil {
			t.Fatal(err)
		}
		return file
	}
	strictly := func(b *bed, file string) error {
		lock, err := base.ReadLock(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.builder().Build(t.Context(), b.image, base.Options{Locked: lock, Strict: true})
		return err
	}
	t.Run("signed", func(t *testing.T) {
		b := newBed(t, appAndLib("1")...)
		if err := strictly(b, saved(b)); err != nil {
			t.Error(err)
		}
	})
	t.Run("moved on", func(t *testing.T) {
		b := newBed(t, appAndLib("1")...)
		file := saved(b)
		b.rewrite(appAndLib("2")...)
		result, err := b.locked(file)
		if err != nil {
			t.Fatal(err)
		}
		warnings := base.Unaccepted(result.Images[0].Warnings)
		if len(warnings) != 1 || warnings[0].Package != "lib" || !strings.Contains(warnings[0].Missing, "only the lock vouches") {
			t.Errorf("want one warning about lib, got %v", warnings)
		}
		wantFault(t, strictly(b, file), fault.Failed, "lib", "only the lock vouches")
	})
	t.Run("other bytes under the same version", func(t *testing.T) {
		b := newBed(t, appAndLib("1")...)
		file := saved(b)
		other := appAndLib("1")
		other[1].Files = []debarchive.File{reg("usr/lib/lib.so", "evil")}
		b.rewrite(other...)
		_, err := b.locked(file)
		wantFault(t, err, fault.Denied, "lib 1", "other bytes")
	})
	t.Run("unsigned archive", func(t *testing.T) {
		b := newBed(t, appAndLib("1")...)
		file := saved(b)
		b.archive.Change(t, "dists/test/InRelease", debarchive.Flip)
		_, err := b.locked(file)
		wantFault(t, err, fault.Denied, "InRelease")
	})
	t.Run("archive away", func(t *testing.T) {
		b := newBed(t, appAndLib("1")...)
		file := saved(b)
		b.image.Spec.Archive.Mirror = "http://127.0.0.1:1/debian"
		result, err := b.locked(file)
		if err != nil {
			t.Fatal(err)
		}
		if warnings := base.Unaccepted(result.Images[0].Warnings); len(warnings) != 1 {
			t.Errorf("want one warning, got %v", warnings)
		}
	})
}

// TestIdleLines holds that a line of the spec which leaves out or accepts nothing is told.
func TestIdleLines(t *testing.T) {
	b := newBed(t, appAndLib("1")...)
	b.image.Spec.Omit = []v1alpha1.Omission{{Package: "libb", Reason: "a slip of the pen"}}
	b.image.Spec.Accept = []v1alpha1.Omission{{Package: "app", Reason: "out of date"}}
	var got []string
	for _, w := range base.Unaccepted(b.build().Images[0].Warnings) {
		got = append(got, w.Package+": "+w.Missing)
	}
	want := []string{
		"app: accept names it, but its scripts leave nothing undone here",
		"libb: omit names it, but nothing here needs it",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
