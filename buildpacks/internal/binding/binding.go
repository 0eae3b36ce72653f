// Package binding takes the service bindings of a build and gives the files that those of
// one type hold.
package binding

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"
)

// File gives the path of the file in the only binding of the type, or "" when there is no
// such binding. Two are an error, and so is one without the file.
func File(bindings libcnb.Bindings, kind, name string) (string, error) {
	paths, err := files(bindings, kind, name)
	switch {
	case err != nil || len(paths) == 0:
		return "", err
	case len(paths) > 1:
		return "", fmt.Errorf("there are %d bindings of type %s, and only one can count", len(paths), kind)
	}
	return paths[0], nil
}

// Netrc puts the netrc files of all bindings of the type netrc into one in the home folder,
// where the tools that fetch look for it.
func Netrc(bindings libcnb.Bindings, home string) error {
	paths, err := files(bindings, "netrc", ".netrc")
	if err != nil || paths == nil {
		return err
	}
	var all []byte
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		all = append(append(all, text...), '\n')
	}
	return os.WriteFile(filepath.Join(home, ".netrc"), all, 0o600)
}

// files gives the path of the file in each binding of the type. It looks in the folder,
// because libcnb leaves out keys that begin with a dot.
func files(bindings libcnb.Bindings, kind, name string) ([]string, error) {
	var paths []string
	for _, b := range bindings {
		if !strings.EqualFold(b.Type, kind) {
			continue
		}
		path := filepath.Join(b.Path, name)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("binding %s of type %s has no %s", b.Name, kind, name)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
