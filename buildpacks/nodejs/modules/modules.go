// Package modules takes an application whose dependencies npm has installed and gives a
// folder with them that is the same whoever installed them, whenever and where.
package modules

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/internal/tree"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
)

// Places gives the node_modules folders of the application, relative to it: its own and
// those of its workspaces. Folders that stand in another node_modules belong to that one.
func Places(app string) ([]string, error) {
	var places []string
	err := filepath.WalkDir(app, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || entry.Name() != "node_modules" {
			return err
		}
		name, err := filepath.Rel(app, path)
		if err != nil {
			return err
		}
		places = append(places, name)
		return fs.SkipDir
	})
	return places, err
}

// Copy copies the places from one folder to another.
func Copy(from, to string, places []string) error {
	for _, place := range places {
		target := filepath.Join(to, place)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := tree.Copy(filepath.Join(from, place), target); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes the places.
func Remove(app string, places []string) error {
	for _, place := range places {
		if err := os.RemoveAll(filepath.Join(app, place)); err != nil {
			return err
		}
	}
	return nil
}

// Move moves the places from the application to a layer, where they stand as they did:
// Node.js finds packages by their real paths. Links to the application's own files, such as
// its workspaces, lead to where these still are.
func Move(app, layer string, places []string) error {
	for _, place := range places {
		from := filepath.Join(app, place)
		if err := anchorLinks(app, from, places); err != nil {
			return err
		}
		if err := tree.Move(from, filepath.Join(layer, place)); err != nil {
			return err
		}
	}
	return nil
}

// anchorLinks makes links from a place to what is in none of them absolute.
func anchorLinks(app, from string, places []string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink == 0 {
			return err
		}
		link, err := os.Readlink(path)
		if err != nil || filepath.IsAbs(link) {
			return err
		}
		target := filepath.Join(filepath.Dir(path), link)
		for _, place := range places {
			if strings.HasPrefix(target, filepath.Join(app, place)+"/") {
				return nil
			}
		}
		return errors.Join(os.Remove(path), os.Symlink(target, path))
	})
}

// Link puts links to the layer's places into the application.
func Link(app, layer string, places []string) error {
	for _, place := range places {
		at := filepath.Join(app, place)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(layer, place), at); err != nil {
			return err
		}
	}
	return nil
}

// Clean removes from the places what differs from one install to the next and is not needed
// to run: npm's own notes, which name the registry, the caches of build tools, and what
// compiling native addons leaves beside them.
func Clean(app string, places []string) error {
	for _, place := range places {
		root := filepath.Join(app, place)
		for _, name := range []string{".package-lock.json", ".cache"} {
			if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
				return err
			}
		}
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && strings.HasPrefix(entry.Name(), "build-tmp-napi-v"): // node-pre-gyp's, which copies the addon elsewhere
				if err := os.RemoveAll(path); err != nil {
					return err
				}
				return fs.SkipDir
			case entry.Name() == "binding.gyp":
				return cleanAddon(filepath.Join(filepath.Dir(path), "build"))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// cleanAddon removes from node-gyp's output what is neither the addon nor a library of it.
func cleanAddon(build string) error {
	for _, pattern := range []string{"Makefile", "*.Makefile", "*.mk", "config.gypi", "gyp-*", "node_gyp_bins", "Release/.deps", "Release/obj", "Release/obj.target"} {
		found, err := filepath.Glob(filepath.Join(build, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// Shape gives a digest over the names, sizes and times of what is in the places: it changes
// when a build writes there, but for the caches of build tools.
func Shape(app string, places []string) (string, error) {
	sum := sha256.New()
	for _, place := range places {
		root := filepath.Join(app, place)
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if path == filepath.Join(root, ".cache") {
				return fs.SkipDir
			}
			if entry.IsDir() {
				return nil
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "%q %d %d\n", path, info.Size(), info.ModTime().UnixNano())
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// machines are the kinds of machines of addons, by their names in images.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// Foreign gives the first package in the places that has addons, but none for that kind of
// machine ("amd64", "arm64"), or "". Some packages bring addons for all kinds.
func Foreign(app string, places []string, arch string) (string, error) {
	fits := map[string]bool{} // by package
	for _, place := range places {
		err := filepath.WalkDir(filepath.Join(app, place), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() || filepath.Ext(path) != ".node" {
				return err
			}
			machine, ok := machineOf(path)
			if !ok {
				return nil
			}
			name := owner(path)
			fits[name] = fits[name] || machine == machines[arch]
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fits)) {
		if !fits[name] {
			return name, nil
		}
	}
	return "", nil
}

// machineOf gives the machine of an addon for Linux.
func machineOf(path string) (elf.Machine, bool) {
	file, err := elf.Open(path)
	if err != nil {
		return 0, false
	}
	defer file.Close()
	return file.Machine, true
}

// owner gives the name of the package that a file belongs to.
func owner(path string) string {
	const above = "/node_modules/"
	parts := strings.SplitN(path[strings.LastIndex(path, above)+len(above):], "/", 3)
	if strings.HasPrefix(parts[0], "@") && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

// Installed gives the packages that are in the places, by their own package.json files.
func Installed(app string, places []string) ([]manifest.Installed, error) {
	var all []manifest.Installed
	for _, place := range places {
		err := filepath.WalkDir(filepath.Join(app, place), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.Name() != "package.json" || !entry.Type().IsRegular() {
				return err
			}
			folder, err := filepath.Rel(app, filepath.Dir(path))
			if err != nil || filepath.ToSlash(folder) != place+"/"+owner(path) && !strings.HasSuffix(folder, "/node_modules/"+owner(path)) {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			p, err := manifest.Parse(text)
			if err != nil || p.Name == "" || p.Version == "" {
				return nil // a test's, or one that only says "type": npm ignores it, too
			}
			all = append(all, manifest.Installed{Folder: folder, Name: p.Name, Version: p.Version, License: string(p.License)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
