package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
	"plimsoll.dev/plimsoll/buildpacks/internal/layer"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/modules"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/raise"
)

// raise changes the application's package.json and lock file so that npm installs no dependency
// below its floor. Where none is below, nothing changes.
func (b *build) raise(platform string) error {
	floors, err := floor.Read(platform, floor.NPM)
	if err != nil || len(floors) == 0 || !b.pkg.HasDependencies() {
		return err
	}
	if b.vendored {
		return b.refuseVendored(floors)
	}
	if !b.locked {
		if err := b.makeLock(); err != nil {
			return err
		}
	}
	lows := raise.Find(b.lock, floors)
	if len(lows) == 0 {
		return b.dropLock()
	}
	if err := raise.Check(b.lock, lows); err != nil {
		return err
	}
	before := b.lock
	files, err := b.raised(lows)
	if err != nil {
		return err
	}
	if err := errors.Join(files.write(b.dir), b.read()); err != nil {
		return err
	}
	if left := raise.Find(b.lock, floors); len(left) > 0 {
		return fmt.Errorf("override %s: npm still takes %s %s (%s), and the override wants %s",
			left[0].Floor.Name, left[0].Floor.Package, left[0].Version, left[0].Folder, left[0].Floor.Version)
	}
	for _, low := range lows {
		fmt.Printf("nodejs: override %s: %s %s instead of %s (%s)\n", low.Floor.Name, low.Floor.Package, low.Floor.Version, low.Version, low.Folder)
	}
	if others := raise.Others(before, b.lock, lows); len(others) > 0 {
		fmt.Printf("nodejs: what they need: %s\n", strings.Join(others, ", "))
	}
	return nil
}

// refuseVendored says which package of the source's own node_modules is below its floor.
func (b *build) refuseVendored(floors []floor.Floor) error {
	places, err := modules.Places(b.dir)
	if err != nil {
		return err
	}
	installed, err := modules.Installed(b.dir, places)
	if err != nil {
		return err
	}
	for _, p := range installed {
		for _, f := range floors {
			if p.Name == f.Package && f.Below(p.Version) {
				return fmt.Errorf("override %s: the source brings %s %s in %s, and the override wants %s: update it, or leave node_modules out of the source", f.Name, p.Name, p.Version, p.Folder, f.Version)
			}
		}
	}
	return nil
}

// lockName is the lock file that npm makes where there is none.
const lockName = "package-lock.json"

// makeLock has npm decide what it would install, so that this can be looked at.
func (b *build) makeLock() error {
	if err := b.resolve(); err != nil {
		return err
	}
	b.ownLock = true
	return b.read()
}

// dropLock removes the lock file that makeLock made, so that all is as without overrides.
func (b *build) dropLock() error {
	if !b.ownLock {
		return nil
	}
	b.ownLock = false
	return errors.Join(os.Remove(filepath.Join(b.dir, lockName)), b.read())
}

func (b *build) read() (err error) {
	b.pkg, b.lock, b.locked, err = manifest.Read(b.dir)
	return err
}

// resolve has npm complete the lock file.
func (b *build) resolve() error {
	return explain("resolve dependencies", b.callNPM("install", "--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved"))
}

// texts are files of the application by their names, relative to it.
type texts map[string][]byte

func (t texts) write(dir string) error {
	for name, text := range t {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// raised gives the files as they must be: from the cache, when they were made of the same ones
// for the same floors before.
func (b *build) raised(lows []raise.Low) (texts, error) {
	original, err := b.manifests()
	if err != nil {
		return nil, err
	}
	key := b.raisedKey(original, lows)
	kept, err := layer.Open(b.layers, "raised", libcnb.LayerTypes{Cache: true})
	if err != nil {
		return nil, err
	}
	var files texts
	if layer.Text(kept, "key") == key {
		files, err = recall(kept.Path, original.names())
	} else if files, err = b.resolveRaised(original, lows); err == nil {
		err = errors.Join(layer.Empty(kept), files.remember(kept.Path))
	}
	if err != nil {
		return nil, err
	}
	kept.Metadata = map[string]any{"key": key}
	b.result.Layers = append(b.result.Layers, layer.Filled(kept))
	return files, nil
}

func (t texts) names() []string { return slices.Sorted(maps.Keys(t)) }

// remember keeps the texts in a folder by their places in the order of their names.
func (t texts) remember(dir string) error {
	for i, name := range t.names() {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), t[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// recall gives the texts of those names that remember has kept.
func recall(dir string, names []string) (texts, error) {
	files := texts{}
	for i, name := range names {
		var err error
		if files[name], err = os.ReadFile(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (b *build) raisedKey(files texts, lows []raise.Low) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "npm %s\n", b.npm)
	for _, low := range lows { // but not the names of overrides
		fmt.Fprintf(sum, "%s %s %s\n", low.Folder, low.Floor.Package, low.Floor.Version)
	}
	for _, name := range files.names() {
		fmt.Fprintf(sum, "%q %q\n", name, files[name])
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// manifests gives the lock file and the package.json files of the application and its
// workspaces.
func (b *build) manifests() (texts, error) {
	names := []string{manifest.FindLock(b.dir)}
	for folder := range b.lock.Packages {
		if !strings.Contains(folder, "node_modules/") && filepath.IsLocal(filepath.Join(folder, "x")) {
			names = append(names, filepath.Join(folder, "package.json"))
		}
	}
	files := texts{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(b.dir, name))
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	return files, nil
}

// resolveRaised puts the floors into the files and has npm find what they need beside.
func (b *build) resolveRaised(original texts, lows []raise.Low) (texts, error) {
	releases := map[floor.Floor]raise.Release{}
	for _, low := range lows {
		if _, ok := releases[low.Floor]; ok {
			continue
		}
		var err error
		if releases[low.Floor], err = b.published(low.Floor); err != nil {
			return nil, err
		}
	}
	lockFile := manifest.FindLock(b.dir)
	files := texts{}
	for _, name := range original.names() {
		var err error
		if name == lockFile {
			files[name], err = raise.Lock(original[name], lows, releases)
		} else {
			files[name], err = raise.Package(original[name], name == "package.json", b.lock, lows)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := files.write(b.dir); err != nil {
		return nil, err
	}
	if err := b.resolve(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(b.dir, lockFile))
	if err != nil {
		return nil, err
	}
	files[lockFile], err = raise.Settle(text, original[lockFile])
	return files, err
}

// published asks the registry for the release at the floor.
func (b *build) published(f floor.Floor) (raise.Release, error) {
	name := f.Package + "@" + f.Version
	out, err := tool.Command{Path: "npm", Args: []string{"view", name, "--json"}, Dir: b.dir, Env: b.env}.Output()
	if err != nil {
		return raise.Release{}, fmt.Errorf("override %s: %w", f.Name, explain("find "+name, err))
	}
	release, err := raise.ParseRelease([]byte(out), f)
	if err != nil {
		err = fmt.Errorf("override %s: find %s: %w", f.Name, name, err)
	}
	return release, err
}
