// Package gocache takes the go command's two caches and leaves in them only what the next
// build of the same application will read.
package gocache

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// old is the time of everything that the build has not used: the go command sets the time
// of a cache entry when it uses one that is older than an hour.
var old = time.Unix(1, 0)

// Age marks all entries of a build cache as unused, and keeps the go command from removing
// them for their age.
func Age(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	return errors.Join(
		entries(dir, func(path string, _ fs.DirEntry) error { return os.Chtimes(path, old, old) }),
		os.WriteFile(filepath.Join(dir, trimmed), []byte(now), 0o644),
	)
}

// trimmed is where the go command keeps the time of its own last trimming.
const trimmed = "trim.txt"

// Prune removes the entries that were not used since Age, and what holds a time.
func Prune(dir string) error {
	return errors.Join(
		entries(dir, func(path string, entry fs.DirEntry) error {
			info, err := entry.Info()
			if err != nil || info.ModTime().After(old) {
				return err
			}
			return os.RemoveAll(path)
		}),
		os.RemoveAll(filepath.Join(dir, trimmed)),
	)
}

// entries calls do for each file in the folders "00" to "ff".
func entries(dir string, do func(path string, entry fs.DirEntry) error) error {
	folders, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		files, err := os.ReadDir(filepath.Join(dir, folder.Name()))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := do(filepath.Join(dir, folder.Name(), file.Name()), file); err != nil {
				return err
			}
		}
	}
	return nil
}

// PruneModules removes from a module cache what is not in the go.sum files: modules that
// the application has left behind, and everything that only downloading needs (the zip of a
// module, clones, the checksum database's tiles).
func PruneModules(dir string, goSums ...[]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	download := filepath.Join(dir, "cache", "download")
	for _, name := range []string{filepath.Join(dir, "cache", "vcs"), filepath.Join(dir, "cache", "lock"), filepath.Join(download, "sumdb")} {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	err := filepath.WalkDir(download, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll
		}
		if err == nil && (strings.HasSuffix(path, ".zip") || strings.HasSuffix(path, ".lock") || entry.Name() == "list") {
			return os.Remove(path)
		}
		return err
	})
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, goSum := range goSums {
		for _, name := range modules(goSum) {
			wanted[name] = true
		}
	}
	return pruneBelow(dir, "", wanted)
}

// pruneBelow removes the modules' folders (all have an @ in their names) that are not wanted.
func pruneBelow(dir, folder string, wanted map[string]bool) error {
	entries, err := os.ReadDir(filepath.Join(dir, folder))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := filepath.Join(folder, entry.Name())
		switch {
		case !entry.IsDir() || wanted[name] || name == "cache":
			continue
		case strings.Contains(entry.Name(), "@"):
			err = os.RemoveAll(filepath.Join(dir, name))
		default:
			err = pruneBelow(dir, name, wanted)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// modules gives the folders in a module cache of the modules whose contents a go.sum file
// vouches for.
func modules(goSum []byte) []string {
	var names []string
	lines := bufio.NewScanner(bytes.NewReader(goSum))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 || strings.HasSuffix(fields[1], "/go.mod") {
			continue
		}
		path, err1 := module.EscapePath(fields[0])
		version, err2 := module.EscapeVersion(fields[1])
		if err1 == nil && err2 == nil {
			names = append(names, filepath.FromSlash(path)+"@"+version)
		}
	}
	return names
}
