package aside

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWriteIsWholeOrAbsent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "file")
	broken := errors.New("broken")
	err := Write(path, func(f *os.File) error {
		_, _ = f.WriteString("half")
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the writer's own error", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	if err := WriteBytes(path, []byte("whole")); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, func(*os.File) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the writer's own error", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "whole" {
		t.Errorf("a failed write changed the file: %q, %v", text, err)
	}
}

func TestWritePrivateIsForOneUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := WritePrivate(path, []byte("words")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may do %v with it", info.Mode().Perm())
	}
}

func TestSealShowsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, ok := ReadSealed(path); ok {
		t.Error("a file that is not there was read")
	}
	if err := WriteSealed(path, []byte("words\nand more")); err != nil {
		t.Fatal(err)
	}
	if data, ok := ReadSealed(path); !ok || string(data) != "words\nand more" {
		t.Errorf("got %q, %t", data, ok)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		damaged := append([]byte{}, text...)
		damaged[i] ^= 1
		if err := os.WriteFile(path, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		if data, ok := ReadSealed(path); ok {
			t.Errorf("with byte %d changed it gave %q", i, data)
		}
	}
}

func TestSweepKeepsTheYoung(t *testing.T) {
	root := t.TempDir()
	old, young := filepath.Join(root, "a", "b", ".aside-1"), filepath.Join(root, "a", ".aside-2")
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(root, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Error("the old leftover is still there")
	}
	if _, err := os.Stat(young); err != nil {
		t.Error("the young one, which a process may be writing, is gone")
	}
}
