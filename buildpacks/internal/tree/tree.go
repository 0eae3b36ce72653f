// Package tree takes a folder of files and gives its digest, or leaves of it only what is
// wanted.
package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// Digest gives a digest over the paths, types, modes and contents of all that is in root,
// in hex. Nothing below a folder or file for which skip (it may be nil) is true counts; it
// is given slash-separated paths relative to root.
func Digest(root string, skip func(path string) bool) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if skip != nil && skip(filepath.ToSlash(name)) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %v", name, info.Mode())
		switch {
		case info.Mode().IsRegular():
			fmt.Fprintf(sum, " %d\n", info.Size())
			return copyFile(sum, path)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			fmt.Fprintf(sum, " %q", target)
			return errors.Join(err, writeByte(sum))
		}
		return writeByte(sum)
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

func writeByte(w io.Writer) error {
	_, err := w.Write([]byte{'\n'})
	return err
}

// Keep removes from root whatever none of the patterns names, and the folders that are
// empty then. In a pattern `*` and `?` stay within a folder, `**` crosses folders; one that
// names a folder keeps all that is in it.
func Keep(root string, patterns []string) error {
	kept, err := compile(patterns)
	if err != nil {
		return err
	}
	return keepBelow(root, "", kept)
}

func keepBelow(root, folder string, kept *regexp.Regexp) error {
	entries, err := os.ReadDir(filepath.Join(root, folder))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := filepath.Join(folder, entry.Name())
		switch path := filepath.Join(root, name); {
		case kept.MatchString(filepath.ToSlash(name)):
		case !entry.IsDir():
			err = os.Remove(path)
		default:
			if err = keepBelow(root, name, kept); err == nil {
				if err = os.Remove(path); errors.Is(err, syscall.ENOTEMPTY) {
					err = nil
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compile gives the expression that matches what any of the patterns names.
func compile(patterns []string) (*regexp.Regexp, error) {
	var any []string
	for _, pattern := range patterns {
		clean := strings.Trim(strings.TrimPrefix(pattern, "./"), "/")
		if clean == "" || strings.Contains("/"+clean+"/", "/../") {
			return nil, fmt.Errorf("pattern %q names nothing inside the application's folder", pattern)
		}
		quoted := regexp.QuoteMeta(clean)
		quoted = strings.ReplaceAll(quoted, `\*\*/`, `(?:.*/)?`)
		quoted = strings.ReplaceAll(quoted, `\*\*`, `.*`)
		quoted = strings.ReplaceAll(quoted, `\*`, `[^/]*`)
		quoted = strings.ReplaceAll(quoted, `\?`, `[^/]`)
		any = append(any, quoted)
	}
	if any == nil {
		return regexp.MustCompile(`$^`), nil
	}
	return regexp.Compile(`^(?:` + strings.Join(any, "|") + `)$`)
}
