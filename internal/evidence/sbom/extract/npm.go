package extract

import (
	"cmp"
	"context"
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
)

const modulesDir = "node_modules"

// npm reads the package.json of installed packages. It does so itself: an image has tens of
// thousands, some of them with fields of other types than npm's documentation allows.
func npm() Extractor {
	return Extractor{
		Name: "npm", Limit: 8 * mib,
		Wants: func(p string, _ fs.FileMode) bool { return path.Base(p) == "package.json" && !forTests(p) },
		Read: func(_ context.Context, f File) (Found, error) {
			text, err := f.Text()
			if err != nil {
				return Found{}, err
			}
			var m npmManifest
			if err := json.Unmarshal(text, &m); err != nil {
				return Found{}, err
			}
			p := artifact.Package{
				Type: "npm", Name: textOf(m.Name), Version: textOf(m.Version),
				Supplier: personOf(m.Author), Licenses: npmLicenses(m.License, m.Licenses),
			}
			if p.Name == "" {
				return Found{}, nil // it says how to load a part of a package
			}
			if scope, name, ok := strings.Cut(p.Name, "/"); ok {
				p.Namespace, p.Name = scope, name
			}
			found := Found{Packages: []artifact.Package{p}}
			if p.Version != "" && within(f.Path, modulesDir) { // a copy in a package often has none
				found.Owns = []Owned{{Path: path.Dir(f.Path), Folder: true}}
			}
			return found, nil
		},
	}
}

// npmManifest is what is read of a package.json (npm's documentation, "package.json").
type npmManifest struct {
	Name     json.RawMessage `json:"name"`
	Version  json.RawMessage `json:"version"`
	Author   json.RawMessage `json:"author"`
	License  json.RawMessage `json:"license"`
	Licenses json.RawMessage `json:"licenses"` // as packages of npm's first years have it
}

// textOf gives a JSON string, "" for anything else.
func textOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}

// personOf gives the name of a person: a string "name <mail> (site)", or an object.
func personOf(raw json.RawMessage) string {
	var person struct{ Name json.RawMessage }
	if json.Unmarshal(raw, &person) == nil {
		return textOf(person.Name)
	}
	name := textOf(raw)
	if i := strings.IndexAny(name, "<("); i >= 0 {
		name = name[:i]
	}
	return strings.TrimSpace(name)
}

// forTests says whether the package.json lies in a folder that a package has for its own
// tests and examples: nobody installed it.
func forTests(file string) bool {
	at := strings.LastIndex("/"+file, "/"+modulesDir+"/")
	if at < 0 {
		return false
	}
	parts := strings.Split(path.Dir(file[at:]), "/")
	for _, part := range parts[min(2, len(parts)):] {
		switch part {
		case "test", "tests", "__tests__", "fixtures", "__fixtures__", "example", "examples":
			return true
		}
	}
	return false
}

// npmLicenses reads the licence in all forms that packages have it: an expression, an object
// with a type, a list of either.
func npmLicenses(fields ...json.RawMessage) []string {
	var all []string
	for _, raw := range fields {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			list = []json.RawMessage{raw}
		}
		for _, one := range list {
			var object struct{ Type, Name json.RawMessage }
			text := textOf(one)
			if json.Unmarshal(one, &object) == nil {
				text = cmp.Or(textOf(object.Type), textOf(object.Name))
			}
			all = append(all, licensesOf(text)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
