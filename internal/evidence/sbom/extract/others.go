package extract

import (
	"context"
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/depsjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemspec"

	"plimsoll.dev/plimsoll/artifact"
)

// composer reads what PHP's Composer installed: vendor/composer/installed.json, in the form
// of its second version or, as a bare list, of its first.
func composer() Extractor {
	return Extractor{
		Name: "composer", Limit: 32 * mib,
		Wants: func(p string, _ fs.FileMode) bool { return strings.HasSuffix("/"+p, "/composer/installed.json") },
		Read: func(_ context.Context, f File) (Found, error) {
			text, err := f.Text()
			if err != nil {
				return Found{}, err
			}
			var list []composerPackage
			if json.Unmarshal(text, &list) != nil {
				var second struct{ Packages []composerPackage }
				if err := json.Unmarshal(text, &second); err != nil {
					return Found{}, err
				}
				list = second.Packages
			}
			vendor := path.Dir(path.Dir(f.Path))
			found := Found{Owns: []Owned{{Path: path.Dir(f.Path), Folder: true}}}
			for _, c := range list {
				namespace, name, ok := strings.Cut(c.Name, "/")
				if !ok || name == "" {
					continue
				}
				p := artifact.Package{Type: "composer", Namespace: namespace, Name: name, Version: c.Version}
				for _, l := range c.License {
					p.Licenses = append(p.Licenses, licensesOf(l)...)
				}
				slices.Sort(p.Licenses)
				found.Packages = append(found.Packages, p)
				found.Owns = append(found.Owns, Owned{Path: path.Join(vendor, c.Name), Folder: true})
			}
			return found, nil
		},
	}
}

type composerPackage struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	License []string `json:"license"`
}

// gem reads the specifications of installed Ruby gems.
func gem() Extractor {
	read := scalibr(gemspec.New)
	return Extractor{
		Name: "gem", Limit: mib,
		Wants: func(p string, _ fs.FileMode) bool {
			return path.Ext(p) == ".gemspec" && within(p, "specifications")
		},
		Read: func(ctx context.Context, f File) (Found, error) {
			list, err := read(ctx, f)
			if err != nil || len(list) == 0 {
				return Found{}, err
			}
			root, _, _ := strings.Cut("/"+f.Path, "/specifications/")
			name := strings.TrimSuffix(path.Base(f.Path), ".gemspec")
			return Found{
				Packages: []artifact.Package{{Type: "gem", Name: list[0].Name, Version: list[0].Version}},
				Owns:     []Owned{{Path: f.Path}, {Path: path.Join(strings.TrimPrefix(root, "/"), "gems", name), Folder: true}},
			}, nil
		},
	}
}

// dotnet reads what a published .NET application is made of.
func dotnet() Extractor {
	read := scalibr(depsjson.New)
	return Extractor{
		Name: "dotnet", Limit: 10 * mib,
		Wants: func(p string, _ fs.FileMode) bool { return strings.HasSuffix(p, ".deps.json") },
		Read: func(ctx context.Context, f File) (Found, error) {
			list, err := read(ctx, f)
			found := Found{Owns: []Owned{{Path: f.Path}}}
			for _, p := range list {
				found.Packages = append(found.Packages, artifact.Package{Type: "nuget", Name: p.Name, Version: p.Version})
				found.Owns = append(found.Owns, Owned{Path: path.Join(path.Dir(f.Path), p.Name+".dll")})
			}
			return found, err
		},
	}
}
