// Package aside takes a path and what is to stand there and gives a file that is whole or
// absent, whatever happens on the way.
package aside

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"time"
)

const pattern = ".aside-*"

// Write makes the file at path, with its folder, from what write puts into a file beside
// it: that one is renamed to path when all went well, and removed otherwise. A reader of
// path never sees a part of it. Errors of write are given as they are.
func Write(path string, write func(*os.File) error) error { return writeAs(path, 0o644, write) }

func writeAs(path string, mode os.FileMode, write func(*os.File) error) error {
	dir := filepath.Dir(path)
	f, err := create(dir)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// create makes a file in the folder. Who prunes a cache may remove a folder that is empty.
func create(dir string) (f *os.File, err error) {
	for range 10 {
		if err = os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if f, err = os.CreateTemp(dir, pattern); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return f, err
}

// WriteOpen is Write that gives the file, too, open for reading at its start: it can be read whatever
// becomes of its name. The caller closes it.
func WriteOpen(path string, write func(*os.File) error) (*os.File, error) {
	var opened *os.File
	err := Write(path, func(f *os.File) (err error) {
		if err = write(f); err == nil {
			opened, err = os.Open(f.Name())
		}
		return err
	})
	if err != nil && opened != nil {
		opened.Close()
		return nil, err
	}
	return opened, err
}

// WriteBytes is Write for a file whose bytes are at hand.
func WriteBytes(path string, data []byte) error {
	return Write(path, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// WriteDurable is WriteBytes for what must outlast a power cut: the bytes are on the disk
// before they have their name.
func WriteDurable(path string, data []byte) error {
	return Write(path, func(f *os.File) error {
		_, err := f.Write(data)
		return errors.Join(err, f.Sync())
	})
}

// WritePrivate is WriteDurable for what nobody but this user may read.
func WritePrivate(path string, data []byte) error {
	return writeAs(path, 0o600, func(f *os.File) error {
		_, err := f.Write(data)
		return errors.Join(err, f.Sync())
	})
}

// WriteSealed writes bytes that ReadSealed gives back only if they are still the same.
func WriteSealed(path string, data []byte) error {
	return WriteBytes(path, append([]byte(seal(data)+"\n"), data...))
}

// ReadSealed gives the bytes that WriteSealed wrote; ok is false when there are none, or
// others.
func ReadSealed(path string) (data []byte, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	sum, data, found := bytes.Cut(text, []byte("\n"))
	return data, found && string(sum) == seal(data)
}

func seal(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Sweep removes what processes that were killed more than age ago left beside files in
// root and in the folders up to two levels below it.
func Sweep(root string, age time.Duration) error {
	for _, below := range []string{"", "*", "*/*"} {
		left, err := filepath.Glob(filepath.Join(root, below, pattern))
		if err != nil {
			return err
		}
		for _, path := range left {
			if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > age {
				if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
		}
	}
	return nil
}
