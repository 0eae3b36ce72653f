package layer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/buildpacks/libcnb"
	"github.com/google/go-cmp/cmp"
)

// TestTakeOver opens a launch layer as the lifecycle restores it: its metadata, no folder.
// It must come out of libcnb without a folder, too.
func TestTakeOver(t *testing.T) {
	layers := libcnb.Layers{Path: t.TempDir()}
	if err := os.WriteFile(filepath.Join(layers.Path, "modules.toml"), []byte("[metadata]\nkey = \"k\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Open(layers, "modules", libcnb.LayerTypes{Launch: true})
	if err != nil {
		t.Fatal(err)
	}
	if Text(l, "key") != "k" || Text(l, "other") != "" {
		t.Errorf("its metadata is %v", l.Metadata)
	}
	got, err := Filled(l).Contribute(libcnb.Layer{Name: "another"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l, got); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(l.Path); err == nil {
		t.Error("it has a folder now")
	}
}

func TestEmpty(t *testing.T) {
	layers := libcnb.Layers{Path: t.TempDir()}
	l, err := Open(layers, "new", libcnb.LayerTypes{Cache: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Empty(l); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(l.Path); err != nil || len(left) > 0 {
			t.Errorf("it holds %v, %v", left, err)
		}
		if err := os.WriteFile(filepath.Join(l.Path, "file"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
