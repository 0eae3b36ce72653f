package raise

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
)

// Release is what the registry says of one version of a package: the JSON of `npm view`.
type Release struct{ about object }

// ParseRelease reads what `npm view PACKAGE@VERSION --json` prints.
func ParseRelease(text []byte, f floor.Floor) (Release, error) {
	about, err := read("the registry's answer", text)
	if err != nil {
		return Release{}, err
	}
	if name, version := about.text("name"), about.text("version"); name != f.Package || version != f.Version {
		return Release{}, fmt.Errorf("the registry answered with %.80q %.80q", name, version)
	}
	return Release{about}, nil
}

// kept are the fields of a package.json that npm repeats in a lock file.
var kept = []string{
	"license", "dependencies", "optionalDependencies", "peerDependencies", "peerDependenciesMeta",
	"bin", "engines", "os", "cpu", "libc", "funding", "deprecated",
}

// flags are what a lock file says of a package by who depends on it.
var flags = []string{"dev", "optional", "devOptional", "peer"}

// entry gives the lock file's entry of the release, in the place of one that stood there.
func (r Release) entry(old object) (object, error) {
	var e object
	if old.get("name") != nil { // it goes by another name than its folder's
		e.put("name", old.get("name"))
	}
	e.put("version", r.about.get("version"))
	integrity, err := r.integrity()
	if err != nil {
		return nil, err
	}
	if err := e.set("integrity", integrity); err != nil {
		return nil, err
	}
	for _, flag := range flags {
		if value := old.get(flag); value != nil {
			e.put(flag, value)
		}
	}
	scripts := r.about.object("scripts")
	if scripts.at("preinstall") >= 0 || scripts.at("install") >= 0 || scripts.at("postinstall") >= 0 || string(r.about.get("gypfile")) == "true" {
		e.put("hasInstallScript", json.RawMessage("true"))
	}
	for _, field := range kept {
		if value := r.about.get(field); value != nil && string(value) != "{}" {
			e.put(field, value)
		}
	}
	return e, nil
}

// integrity gives the hash that npm checks what it fetches against. Old releases have only a
// SHA-1.
func (r Release) integrity() (string, error) {
	dist := r.about.object("dist")
	if integrity := dist.text("integrity"); integrity != "" {
		return integrity, nil
	}
	sum, err := hex.DecodeString(dist.text("shasum"))
	if err != nil || len(sum) != 20 {
		return "", errors.New("the registry gives no hash")
	}
	return "sha1-" + base64.StdEncoding.EncodeToString(sum), nil
}

// Lock gives the lock file with the releases in the place of the low packages. Npm then has to
// find what these need that is not there yet.
func Lock(text []byte, lows []Low, releases map[floor.Floor]Release) ([]byte, error) {
	lock, err := read("lock file", text)
	if err != nil {
		return nil, err
	}
	packages := lock.object("packages")
	for _, low := range lows {
		entry, err := releases[low.Floor].entry(packages.object(low.Folder))
		if err != nil {
			return nil, fmt.Errorf("override %s: %s %s: %w", low.Floor.Name, low.Floor.Package, low.Floor.Version, err)
		}
		if err := packages.set(low.Folder, entry); err != nil {
			return nil, err
		}
	}
	return write(lock, packages)
}

// Settle gives the lock file that npm made of a raised one as it goes into the image: it names
// the places of packages where the original did, and no others, for npm writes down the address
// of the mirror that it asked.
func Settle(text, original []byte) ([]byte, error) {
	lock, err := read("lock file", text)
	if err != nil {
		return nil, err
	}
	before, err := read("lock file", original)
	if err != nil {
		return nil, err
	}
	packages, old := lock.object("packages"), before.object("packages")
	for i, m := range packages {
		var entry object
		if json.Unmarshal(m.value, &entry) != nil {
			continue
		}
		was := old.object(m.key)
		if was.get("resolved") == nil || entry.get("resolved") != nil || was.text("integrity") != entry.text("integrity") {
			continue
		}
		placed := object{}
		for _, field := range entry {
			placed = append(placed, field)
			if field.key == "version" {
				placed.put("resolved", was.get("resolved"))
			}
		}
		if packages[i].value, err = plain(placed); err != nil {
			return nil, err
		}
	}
	return write(lock, packages)
}

// write gives a lock file with the packages. It is of version 3: in version 2 all is there a
// second time, for versions of npm that this buildpack does not take lock files of.
func write(lock, packages object) ([]byte, error) {
	lock.remove("dependencies")
	err := errors.Join(lock.set("lockfileVersion", 3), lock.set("packages", packages))
	if err != nil {
		return nil, err
	}
	return lock.file()
}
