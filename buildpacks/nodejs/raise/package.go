package raise

import (
	"encoding/json"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
)

// Package gives a package.json with which npm takes no dependency below its floor. Only the
// application's own (root) can say so for the dependencies of dependencies; in it and in those
// of its workspaces the direct ones must say the same, or npm sees a contradiction.
func Package(text []byte, root bool, lock manifest.Lock, lows []Low) ([]byte, error) {
	p, err := read("package.json", text)
	if err != nil {
		return nil, err
	}
	for _, r := range rules(lock, lows) {
		for _, field := range []string{"dependencies", "devDependencies", "optionalDependencies"} {
			wanted := p.object(field)
			if wanted.at(r.alias) < 0 {
				continue
			}
			if err := wanted.set(r.alias, r.spec); err != nil {
				return nil, err
			}
			if err := p.set(field, wanted); err != nil {
				return nil, err
			}
		}
		if !root || r.other {
			continue
		}
		overrides, err := r.into(p.object("overrides"))
		if err != nil {
			return nil, err
		}
		if err := p.set("overrides", overrides); err != nil {
			return nil, err
		}
	}
	return p.file()
}

// into adds the rule to the application's own overrides. Those that are about the same package,
// however deep, would prevail, and say the same now.
func (r rule) into(overrides object) (object, error) {
	overrides, err := r.within(overrides)
	if err != nil || overrides.at(r.alias) >= 0 { // that one is for all versions
		return overrides, err
	}
	return overrides, overrides.set(r.alias+"@"+r.upTo, r.spec)
}

// within makes all that overrides say of the rule's package say what it does.
func (r rule) within(overrides object) (object, error) {
	for i, m := range overrides {
		name, err := keyName(m.key), error(nil)
		var text string
		var inner object
		switch {
		case json.Unmarshal(m.value, &inner) == nil:
			if inner, err = r.within(inner); err == nil && name == r.alias {
				err = inner.set(".", r.spec)
			}
			if err == nil {
				overrides[i].value, err = plain(inner)
			}
		case name != r.alias || json.Unmarshal(m.value, &text) != nil || strings.HasPrefix(text, "$"): // "$name" is what the application itself wants
		default:
			overrides[i].value, err = plain(r.spec)
		}
		if err != nil {
			return nil, err
		}
	}
	return overrides, nil
}

// keyName gives the package that a key of "overrides" is about: "@scope/name" of
// "@scope/name@<2".
func keyName(key string) string {
	if at := strings.LastIndexByte(key, '@'); at > 0 {
		return key[:at]
	}
	return key
}
