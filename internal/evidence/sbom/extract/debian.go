package extract

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	dpkgmeta "github.com/google/osv-scalibr/extractor/filesystem/os/dpkg/metadata"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/license"
)

// Where dpkg, and images composed without it, keep what they know of packages.
const (
	dpkgDir       = "var/lib/dpkg/"
	dpkgStatusD   = dpkgDir + "status.d/"
	dpkgInfo      = dpkgDir + "info/"
	opkgStatus    = "usr/lib/opkg/status"
	docDir        = "usr/share/doc/"
	sumsSuffix    = ".md5sums"
	listSuffix    = ".list"
	copyrightName = "/copyright"
)

// dpkgStatus reads the database of dpkg or opkg, or one stanza of it as distroless images
// have them (deb-control(5)).
func dpkgStatus() Extractor {
	read := scalibr(dpkg.New)
	return Extractor{
		Name: "dpkg", Limit: 64 * mib,
		Wants: func(p string, _ fs.FileMode) bool {
			stanza := strings.HasPrefix(p, dpkgStatusD) && !strings.HasSuffix(p, sumsSuffix)
			return p == dpkgDir+"status" || p == opkgStatus || stanza
		},
		Read: func(ctx context.Context, f File) (Found, error) {
			list, err := read(ctx, f)
			if err == nil && len(list) == 0 && strings.HasPrefix(f.Path, dpkgStatusD) && f.Size > 0 {
				err = errors.New("it names no package")
			}
			found := Found{Owns: []Owned{{Path: f.Path}}}
			for _, p := range list {
				about, ok := p.Metadata.(*dpkgmeta.Metadata)
				if !ok {
					continue
				}
				out := artifact.Package{
					Type: p.PURLType, Name: p.Name, Version: p.Version, Arch: about.Architecture,
					Source: about.SourceName, SourceVersion: about.SourceVersion, Supplier: about.Maintainer,
				}
				if out.Source == "" {
					out.Source = p.Name
				}
				if out.SourceVersion == "" {
					out.SourceVersion = p.Version
				}
				found.Packages = append(found.Packages, out)
			}
			return found, err
		},
	}
}

// dpkgList reads the list of all paths of a package.
func dpkgList() Extractor {
	return Extractor{
		Name: "dpkg files", Limit: 64 * mib,
		Wants: func(p string, _ fs.FileMode) bool {
			return strings.HasPrefix(p, dpkgInfo) && strings.HasSuffix(p, listSuffix)
		},
		Read: owned(listSuffix, func(line string) string { return line }),
	}
}

// dpkgSums reads the MD5 sums of a package's files (deb-md5sums(5)).
func dpkgSums() Extractor {
	return Extractor{
		Name: "dpkg sums", Limit: 64 * mib,
		Wants: func(p string, _ fs.FileMode) bool {
			return strings.HasSuffix(p, sumsSuffix) && (strings.HasPrefix(p, dpkgStatusD) || strings.HasPrefix(p, dpkgInfo))
		},
		Read: owned(sumsSuffix, func(line string) string {
			_, file, _ := strings.Cut(line, " ")
			return strings.TrimSpace(file)
		}),
	}
}

// owned reads a file of one path a line; its own name says which package's they are.
func owned(suffix string, pathOf func(line string) string) func(context.Context, File) (Found, error) {
	return func(_ context.Context, f File) (Found, error) {
		text, err := f.Text()
		if err != nil {
			return Found{}, err
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(path.Base(f.Path), suffix), ":") // libc6:amd64.list
		found := Found{Owns: []Owned{{Path: f.Path, By: name}}}
		for line := range bytes.Lines(text) {
			file := path.Clean(strings.TrimLeft(pathOf(string(bytes.TrimRight(line, "\r\n"))), "/"))
			if file == "." {
				continue
			}
			found.Owns = append(found.Owns, Owned{Path: file, By: name})
			if merged := mergedUsr(file); merged != "" {
				found.Owns = append(found.Owns, Owned{Path: merged, By: name})
			}
		}
		return found, nil
	}
}

// mergedUsr gives where a path of the root lies when its folder is a link into /usr.
func mergedUsr(file string) string {
	top, _, _ := strings.Cut(file, "/")
	switch top {
	case "bin", "sbin", "lib", "lib32", "lib64", "libx32":
		return "usr/" + file
	}
	return ""
}

// debianCopyright reads the licences of a Debian package.
func debianCopyright() Extractor {
	return Extractor{
		Name: "debian copyright", Limit: 8 * mib,
		Wants: func(p string, _ fs.FileMode) bool {
			return strings.HasPrefix(p, docDir) && strings.HasSuffix(p, copyrightName)
		},
		Read: func(_ context.Context, f File) (Found, error) {
			text, err := f.Text()
			if err != nil {
				return Found{}, err
			}
			return Found{Licenses: license.Debian(string(text))}, nil
		},
	}
}

// osRelease reads which distribution it is (os-release(5)).
func osRelease() Extractor {
	return Extractor{
		Name: "os-release", Limit: mib,
		Wants: func(p string, _ fs.FileMode) bool { return p == "etc/os-release" || p == "usr/lib/os-release" },
		Read: func(_ context.Context, f File) (Found, error) {
			text, err := f.Text()
			if err != nil {
				return Found{}, err
			}
			var d artifact.Distro
			for line := range bytes.Lines(text) {
				key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
				value = strings.Trim(value, `"'`)
				switch key {
				case "ID":
					d.ID = value
				case "VERSION_ID":
					d.Version = value
				case "PRETTY_NAME":
					d.Name = value
				}
			}
			return Found{Distro: &d}, nil
		},
	}
}
