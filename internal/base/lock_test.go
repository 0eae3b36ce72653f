package base_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// locked builds from the lock in the file.
func (b *bed) locked(file string) (*base.Result, error) {
	lock, err := base.ReadLock(file)
	if err != nil {
		return nil, err
	}
	return b.builder().Build(b.t.Context(), b.image, base.Options{Locked: lock})
}

func appAndLib(version string) []pkg {
	return []pkg{
		{Name: "app", Fields: map[string]string{"Depends": "lib", "Source": "app-src"}, Files: []debarchive.File{reg("usr/bin/app", "app")}},
		{Name: "lib", Version: version, Files: []debarchive.File{reg("usr/lib/lib.so", version)}},
	}
}

func TestLock(t *testing.T) {
	b := newBed(t, appAndLib("1")...)
	b.image.Spec.Packages = []string{"base-files", "app"}
	first := b.build()
	file := filepath.Join(t.TempDir(), "base.lock")
	if err := first.Lock.Save(file); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range first.Lock.Images[0].Packages {
		got = append(got, p.String()+": "+p.Why)
	}
	want := []string{"app 1.0-1: requested", "base-files 13: requested", `lib 1: needed by app 1.0-1 through Depends "lib"`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Lock.Save(file); err != nil {
		t.Fatal(err)
	}
	if again, err := os.Stat(file); err != nil || !again.ModTime().Equal(info.ModTime()) {
		t.Errorf("a lock that says the same was written again (%v)", err)
	}

	b.rewrite(appAndLib("2")...)
	fixed, err := b.locked(file)
	if err != nil {
		t.Fatal(err)
	}
	if fixed.Images[0].Digest != first.Images[0].Digest {
		t.Error("the lock was not honoured: another digest")
	}
	b.home = t.TempDir() // without the cache the old package comes from the pool again
	if fixed, err = b.locked(file); err != nil || fixed.Images[0].Digest != first.Images[0].Digest {
		t.Errorf("the lock was not honoured in another home: %v", err)
	}
	if newer := b.build(); newer.Images[0].Digest == first.Images[0].Digest {
		t.Error("without the lock the new version should be in")
	}
	b.archive.Change(t, "pool/main/lib/lib_1_all.deb", debarchive.Remove)
	b.home = t.TempDir()
	_, err = b.locked(file)
	wantFault(t, err, fault.NotFound, "lib_1_all.deb")
}

func TestLockOfAnotherSpec(t *testing.T) {
	tests := []struct {
		name string
		edit func(*v1alpha1.BaseImageSpec)
		says []string
	}{
		{"a package more", func(s *v1alpha1.BaseImageSpec) { s.Packages = append(s.Packages, "lib") }, []string{"spec.packages", "lib"}},
		{"a package less", func(s *v1alpha1.BaseImageSpec) { s.Packages = s.Packages[:1] }, []string{"spec.packages", "app"}},
		{"another version", func(s *v1alpha1.BaseImageSpec) { s.Packages = []string{"base-files", "app (>= 2)"} }, []string{"app (>= 2)"}},
		{"an omission", func(s *v1alpha1.BaseImageSpec) { s.Omit = []v1alpha1.Omission{{Package: "lib", Reason: "r"}} }, []string{"spec.omit", "lib"}},
		{"another suite", func(s *v1alpha1.BaseImageSpec) { s.Archive.Suites = []string{"test", "test-security"} }, []string{"spec.archive.suites", "test-security"}},
		{"another architecture", func(s *v1alpha1.BaseImageSpec) { s.Architectures = []string{"arm64"} }, []string{"arm64"}},
	}
	b := newBed(t, appAndLib("1")...)
	b.image.Spec.Packages = []string{"base-files", "app"}
	file := filepath.Join(t.TempDir(), "base.lock")
	if err := b.build().Lock.Save(file); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			other := *b
			image := *b.image
			other.image = &image
			tt.edit(&image.Spec)
			_, err := other.locked(file)
			wantFault(t, err, fault.Usage, append(tt.says, "use lock")...)
		})
	}
	b.image.Spec.Packages = []string{"app", "base-files"}
	b.image.Spec.Environment = map[string]string{"A": "b"}
	if _, err := b.locked(file); err != nil {
		t.Errorf("the same wishes in another order, and what no lock decides: %v", err)
	}
}

func TestEditedLock(t *testing.T) {
	b := newBed(t, appAndLib("1")...)
	file := filepath.Join(t.TempDir(), "base.lock")
	if err := b.build().Lock.Save(file); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, from, to string }{
		{"a version", `version: "1"`, `version: "9"`},
		{"a hash", "sha256: ", "sha256: 0"},
		{"a file name", "pool/main/lib", "pool/main/../lib"},
		{"a field", "kind: BaseLock", "kind: BaseLock\nextra: 1"},
		{"another kind", "kind: BaseLock", "kind: BaseImage"},
		{"another version of locks", "apiVersion: plimsoll.dev/v1alpha1", "apiVersion: plimsoll.dev/v2"},
		{"the sum", "\nsum: ", "\nsum: 0"},
		{"no YAML", "kind:", "kind: ["},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(string(good), tt.from, tt.to, 1)
			if text == string(good) {
				t.Fatalf("the lock has no %q:\n%s", tt.from, good)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := b.locked(file)
			wantFault(t, err, fault.Usage, "read lock", file)
		})
	}
	_, err = base.ReadLock(file + ".absent")
	wantFault(t, err, fault.Usage, "read lock", "absent", "no such file")
}

// TestForgedLock seals what it forged: what the packages say of themselves still counts.
func TestForgedLock(t *testing.T) {
	b := newBed(t, appAndLib("1")...)
	lock := b.build().Lock
	for _, forge := range []func(*base.Package){
		func(p *base.Package) { p.Version = "9" },
		func(p *base.Package) { p.Source = "another" },
		func(p *base.Package) { p.Architecture = "amd64" },
	} {
		forged := *lock
		forged.Images = []base.LockedImage{{Architecture: "amd64", Packages: append([]base.Package{}, lock.Images[0].Packages...)}}
		forge(&forged.Images[0].Packages[2])
		_, err := b.builder().Build(t.Context(), b.image, base.Options{Locked: &forged})
		wantFault(t, err, fault.Denied, "lib_1_all.deb", "says")
	}
}

func TestVirtualPackageMayBeWanted(t *testing.T) {
	b := newBed(t, pkg{Name: "gawk", Fields: map[string]string{"Provides": "awk"}, Files: []debarchive.File{reg("usr/bin/awk", "a")}})
	b.image.Spec.Packages = []string{"base-files", "awk"}
	if tree := b.tree(); tree["usr/bin/awk"] == nil {
		t.Error("the provider is not in")
	}
}
