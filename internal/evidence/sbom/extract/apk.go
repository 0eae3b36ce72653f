package extract

import (
	"bytes"
	"context"
	"io/fs"
	"path"
	"strings"

	alpine "github.com/google/osv-scalibr/extractor/filesystem/os/apk"
	apkmeta "github.com/google/osv-scalibr/extractor/filesystem/os/apk/metadata"

	"plimsoll.dev/plimsoll/artifact"
)

// apk reads the database of Alpine's package manager (apk-installed(5)).
func apk() Extractor {
	read := scalibr(alpine.New)
	return Extractor{
		Name: "apk", Limit: 64 * mib,
		Wants: func(p string, _ fs.FileMode) bool {
			return p == "lib/apk/db/installed" || p == "usr/lib/apk/db/installed" || p == "var/lib/apk/db/installed"
		},
		Read: func(ctx context.Context, f File) (Found, error) {
			list, err := read(ctx, f)
			if err != nil {
				return Found{}, err
			}
			found := Found{Owns: []Owned{{Path: path.Dir(f.Path), Folder: true}}}
			for _, p := range list {
				about, ok := p.Metadata.(*apkmeta.Metadata)
				if !ok {
					continue
				}
				out := artifact.Package{
					Type: p.PURLType, Name: p.Name, Version: p.Version, Arch: about.Architecture,
					Source: about.OriginName, SourceVersion: p.Version, Supplier: about.Maintainer,
					Licenses: licensesOf(strings.Join(p.Licenses, " ")),
				}
				if out.Source == "" {
					out.Source = p.Name
				}
				found.Packages = append(found.Packages, out)
			}
			text, err := f.Text()
			found.Owns = append(found.Owns, apkFiles(text)...)
			return found, err
		},
	}
}

// apkFiles gives the paths in the database: "P:" names a package, "F:" one of its folders,
// "R:" a file in the folder before it.
func apkFiles(text []byte) []Owned {
	var all []Owned
	var name, dir string
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		switch key {
		case "P":
			name, dir = value, ""
		case "F":
			dir = value
		case "R":
			all = append(all, Owned{Path: path.Join(".", dir, value), By: name})
		}
	}
	return all
}
