package extract

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	rpmdb "github.com/erikvarga/go-rpmdb/pkg"
	_ "modernc.org/sqlite" // the driver that go-rpmdb asks for

	"plimsoll.dev/plimsoll/artifact"
)

// rpmTime bounds how long a database is read: a damaged one may lead in circles.
const rpmTime = time.Minute

// rpm reads the database of RPM in any of its three forms. Versions are written as rpm
// does, epoch first where there is one: "1:3.0.7-27.el9".
func rpm() Extractor {
	return Extractor{
		Name: "rpm", Limit: 512 * mib,
		Wants: func(p string, _ fs.FileMode) bool {
			dir, name := path.Split(p)
			switch dir {
			case "usr/lib/sysimage/rpm/", "var/lib/rpm/", "usr/share/rpm/":
				return name == "Packages" || name == "Packages.db" || name == "rpmdb.sqlite"
			}
			return false
		},
		Read: func(ctx context.Context, f File) (Found, error) {
			ctx, cancel := context.WithTimeout(ctx, rpmTime)
			defer cancel()
			list, err := rpmList(ctx, f)
			if err != nil {
				return Found{}, err
			}
			found := Found{Owns: []Owned{{Path: path.Dir(f.Path), Folder: true}}}
			for _, p := range list {
				if p.Name == "gpg-pubkey" { // a key, which rpm keeps as if it were a package
					continue
				}
				found.Packages = append(found.Packages, rpmPackage(p))
				files, err := p.InstalledFileNames()
				if err != nil {
					return found, fmt.Errorf("the files of %q: %w", p.Name, err)
				}
				for _, file := range files {
					found.Owns = append(found.Owns, Owned{Path: path.Clean(strings.TrimLeft(file, "/")), By: p.Name})
				}
			}
			return found, nil
		},
	}
}

// rpmList opens the database, which its reader wants to be a file on disk.
func rpmList(ctx context.Context, f File) ([]*rpmdb.PackageInfo, error) {
	dir, err := os.MkdirTemp(f.Temp, "rpm-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	copied, err := os.Create(path.Join(dir, path.Base(f.Path)))
	if err != nil {
		return nil, err
	}
	defer copied.Close()
	if _, err := io.Copy(copied, f.Reader()); err != nil {
		return nil, err
	}
	db, err := rpmdb.Open(copied.Name())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return db.ListPackagesWithContext(ctx)
}

func rpmPackage(p *rpmdb.PackageInfo) artifact.Package {
	out := artifact.Package{
		Type: "rpm", Name: p.Name, Version: p.Version + "-" + p.Release, Arch: p.Arch,
		Source: p.Name, Supplier: p.Vendor, Licenses: licensesOf(p.License),
	}
	if source, ok := strings.CutSuffix(p.SourceRpm, ".src.rpm"); ok {
		if i := strings.LastIndexByte(source, '-'); i > 0 {
			if j := strings.LastIndexByte(source[:i], '-'); j > 0 {
				out.Source, out.SourceVersion = source[:j], source[j+1:]
			}
		}
	}
	if out.SourceVersion == "" {
		out.SourceVersion = out.Version
	}
	if epoch := p.EpochNum(); epoch > 0 {
		out.Version = fmt.Sprintf("%d:%s", epoch, out.Version)
		out.SourceVersion = fmt.Sprintf("%d:%s", epoch, out.SourceVersion)
	}
	return out
}
