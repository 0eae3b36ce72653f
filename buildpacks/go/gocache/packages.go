package gocache

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Listed is the template by which `go list -deps` lists what PrunePackages keeps: the folder of each
// package, and the files that it embeds, one a line.
const Listed = `{{if .Module}}{{$dir := .Dir}}{{$dir}}{{range .EmbedFiles}}
{{$dir}}/{{.}}{{end}}{{end}}`

// PrunePackages removes from the modules of a module cache the packages that were not listed: of large
// modules a program uses a few. Folders of modules stay, even empty, for the go command looks for a
// package in each module whose path begins like it, and would fetch one that is not there. A build that
// needs more than was listed fails by Missing.
func PrunePackages(dir, listed string) error {
	keep := map[string]bool{}
	for line := range strings.Lines(listed) {
		keep[strings.TrimSpace(line)] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == "cache" || !entry.IsDir() {
			continue
		}
		if _, err := pruneFolder(filepath.Join(dir, entry.Name()), keep); err != nil {
			return err
		}
	}
	return nil
}

// pruneFolder removes below a folder what is not to be kept, and says whether nothing is left.
func pruneFolder(dir string, keep map[string]bool) (empty bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	empty = true
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		gone := !keep[dir] && !keep[path]
		if entry.IsDir() {
			bare, err := pruneFolder(path, keep)
			if err != nil {
				return false, err
			}
			gone = bare && !strings.Contains(entry.Name(), "@")
		}
		if !gone {
			empty = false
			continue
		}
		if err := os.Remove(path); err != nil {
			return false, err
		}
	}
	return empty, nil
}

// Missing says whether the go command may have failed, as its output tells, for want of a package or
// a file that PrunePackages has removed.
func Missing(output string) bool {
	for _, sign := range []string{"provides package", "providing package", "does not contain package", "is not in std", "no matching files found", fs.ErrNotExist.Error(), "no such file or directory"} {
		if strings.Contains(output, sign) {
			return true
		}
	}
	return false
}
