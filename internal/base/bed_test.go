package base_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/base/basetest"
	"plimsoll.dev/plimsoll/internal/base/spec"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// pkg, reg, dir, symlink and hardlink shorten the tables.
type pkg = debarchive.Package

var (
	reg      = debarchive.Regular
	dir      = debarchive.Dir
	symlink  = debarchive.Symlink
	hardlink = debarchive.Hardlink
)

// system is what every image needs: it says which system it is, and merges /usr.
func system() pkg {
	return pkg{Name: "base-files", Version: "13", Files: []debarchive.File{
		symlink("bin", "usr/bin"), symlink("lib", "usr/lib"), symlink("sbin", "usr/sbin"),
		dir("usr/bin", 0), dir("usr/lib", 0), dir("usr/sbin", 0), dir("etc", 0),
		reg("usr/lib/os-release", "ID=test\n"), symlink("etc/os-release", "../usr/lib/os-release"),
	}}
}

// bed is an archive, and the spec of a base of all its packages.
type bed struct {
	t       testing.TB
	archive *debarchive.Archive
	image   *v1alpha1.BaseImage
	home    string
}

// newBed makes an archive of the packages and base-files.
func newBed(t testing.TB, packages ...pkg) *bed {
	t.Helper()
	all := append([]pkg{system()}, packages...)
	a := debarchive.New(t, debarchive.Suite{Name: "test", Packages: all})
	text := fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: BaseImage\nmetadata: {name: bed}\nspec:\n  archive: {suites: [test], mirror: %q, keyring: %q}\n  architectures: [amd64]\n  packages:\n", a.Root, a.Keyring)
	for _, p := range all {
		text += "  - " + p.Name + "\n"
	}
	image, err := spec.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &bed{t: t, archive: a, image: image, home: t.TempDir()}
}

// rewrite puts the packages in the place of those the archive had.
func (b *bed) rewrite(packages ...pkg) {
	b.t.Helper()
	b.archive.Rewrite(b.t, debarchive.Suite{Name: "test", Packages: append([]pkg{system()}, packages...)})
}

func (b *bed) builder() *base.Builder { return &base.Builder{Home: b.home, Agent: "test"} }

// build builds, and must succeed.
func (b *bed) build() *base.Result {
	b.t.Helper()
	result, err := b.builder().Build(b.t.Context(), b.image, base.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// tree builds and unpacks; every image here must pass the inventory check.
func (b *bed) tree() basetest.Tree {
	b.t.Helper()
	tree := basetest.Read(b.t, b.build().Images[0].Image)
	tree.CheckInventory(b.t)
	return tree
}

// refuses builds, and must fail with a fault of the kind that says all of it; nothing
// half-made may be left.
func (b *bed) refuses(kind fault.Kind, says ...string) {
	b.t.Helper()
	_, err := b.builder().Build(b.t.Context(), b.image, base.Options{})
	wantFault(b.t, err, kind, says...)
	noLeftovers(b.t, b.home)
}

func wantFault(t testing.TB, err error, kind fault.Kind, says ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Errorf("want a fault, got %T: %v", err, err)
		return
	}
	if fault.KindOf(err) != kind {
		t.Errorf("want kind %d, got %d: %v", kind, fault.KindOf(err), err)
	}
	for _, word := range says {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

// noLeftovers fails the test when something that was written aside is still there.
func noLeftovers(t testing.TB, home string) {
	t.Helper()
	err := filepath.WalkDir(home, func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(filepath.Base(path), "aside") || strings.HasPrefix(filepath.Base(path), ".lock-") {
			t.Errorf("%s is left over", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// mode gives "mode uid:gid" of a path, or "absent".
func mode(tree basetest.Tree, at string) string {
	f := tree[at]
	if f == nil {
		return "absent"
	}
	return fmt.Sprintf("%04o %d:%d", f.Header.Mode, f.Header.Uid, f.Header.Gid)
}

func text(tree basetest.Tree, at string) string {
	if tree[at] == nil {
		return "absent"
	}
	return tree[at].Text
}

func ptr(n int) *int { return &n }
