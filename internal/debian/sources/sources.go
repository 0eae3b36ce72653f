// Package sources takes the suites of one Debian release and gives the changelog of the
// newest version of each source package that may have been fixed since the release, as the
// archive signs it.
//
// A changelog is in the source package, debian/changelog, and in the binary packages made
// of it, usr/share/doc/PACKAGE/changelog.Debian.gz (Debian Policy 4.4, 12.7). Whichever file
// is the smallest is fetched: for the security suite of Debian 13 that is 16 MB, where the
// source packages alone would be 125 MB, and the binary packages alone 181 MB.
package sources

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/debian/archive"
	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Archive is the verified archive of one release.
type Archive struct {
	signed       *archive.Archive
	options      archive.Options
	architecture string
	version      string
	digest       string
}

// connections bounds how many changelogs are fetched at once: mirrors are given for free.
const connections = 4

// Options say which archive is read.
type Options struct {
	Suites  []string          // all of one release: "trixie", "trixie-security"
	Mirrors map[string]string // by suite; those that are not here, the machine's apt sources name
	Keyring string            // "" is Debian's own
	Apt     string            // folder of the apt sources; "" is /etc/apt

	Cache string // folder of what can be fetched again
	State string // folder of what must be remembered: the dates of the suites last seen

	// Architecture says which binary packages may be read; "" is amd64. Changelogs are the
	// same in all.
	Architecture string
	Agent        string // User-Agent of requests
}

// Open verifies the suites.
func Open(ctx context.Context, options Options) (*Archive, error) {
	o := archive.Options{Components: []string{"main"}, Cache: options.Cache, State: options.State, Agent: options.Agent}
	var err error
	if o.Keyring, err = archive.LoadKeyring(options.Keyring); err != nil {
		return nil, err
	}
	machine, err := archive.MachineSources(cmp.Or(options.Apt, "/etc/apt"))
	if err != nil {
		return nil, fault.New(fault.Failed, "read the machine's apt sources", options.Apt, err)
	}
	for _, suite := range options.Suites {
		mirror := options.Mirrors[suite]
		if mirror == "" {
			if mirror, err = archive.MirrorFor(machine, suite); err != nil {
				return nil, fault.New(fault.Usage, "find mirror", suite, errors.Unwrap(err)).WithHint("name the suite's mirror, or add it to the machine's apt sources")
			}
		}
		o.Suites = append(o.Suites, archive.Suite{Name: suite, Mirror: mirror})
	}
	signed, err := archive.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	a := &Archive{signed: signed, options: o, architecture: cmp.Or(options.Architecture, "amd64")}
	return a, a.identify()
}

// identify tells which release the suites are of, and a digest of all their packages.
func (a *Archive) identify() error {
	sum := sha256.New()
	for _, suite := range a.options.Suites {
		release := a.signed.Release(suite.Name)
		version := major.FindString(release.Version)
		if version == "" || a.version != "" && a.version != version {
			return fault.Newf(fault.Usage, "read changelogs", suite.Name, fmt.Sprintf("it is of release %q, other suites are of %q", release.Version, a.version)).
				WithHint("give each release a feed of its own; a suite without a version cannot be matched")
		}
		a.version = version
		for _, component := range a.options.Components {
			for _, name := range []string{sourceIndex(component), component + "/binary-" + a.architecture + "/Packages"} {
				fmt.Fprintln(sum, suite.Name, name, release.Files[name].SHA256)
			}
		}
	}
	a.digest = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// major is the number of a release in what its suites call themselves: "13", "13.7",
// "13-updates".
var major = regexp.MustCompile(`^[0-9]+`)

func sourceIndex(component string) string { return component + "/source/Sources" }

// Release gives the release's number, such as "13", and a digest that changes when any of
// its source packages does.
func (a *Archive) Release() (version, digest string) { return a.version, a.digest }

// source is one version of a source package, and where its changelog may be found.
type source struct {
	name, version string
	sum           string // SHA-256 of its .dsc
	places        []place
}

// place is a file that may hold the changelog.
type place struct {
	mirror, path string
	file         archive.File
	binary       string // the binary package's name; "" for a file of the source package
}

// Changelogs reads the changelog of the newest version of each source package, but of those
// that have says it knows: it asks that of all first. read is called from several goroutines.
// sum, the SHA-256 of the package's .dsc, tells the contents of a version. missing are the
// source packages that are listed but that the mirrors do not have, sorted.
func (a *Archive) Changelogs(ctx context.Context, have func(source, version, sum string) bool, read func(source, version, sum string, changelog io.Reader) error) (missing []string, err error) {
	newest, err := a.newest(ctx)
	if err != nil {
		return nil, err
	}
	newest = slices.DeleteFunc(newest, func(s *source) bool { return have(s.name, s.version, s.sum) })
	if len(newest) == 0 {
		return nil, nil
	}
	if err := a.addBinaries(ctx, newest); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	pool := archive.NewPool(filepath.Join(a.options.Cache, "changelog"), a.options.Agent)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(connections)
	for _, s := range newest {
		group.Go(func() error {
			text, err := s.changelog(ctx, pool)
			if errors.Is(err, errNowhere) {
				mu.Lock()
				defer mu.Unlock()
				missing = append(missing, s.name+" "+s.version)
				return nil
			}
			if err != nil {
				return err
			}
			defer text.Close()
			return read(s.name, s.version, s.sum, text)
		})
	}
	err = group.Wait()
	slices.Sort(missing)
	return missing, err
}

// newest gives the newest version of each source package, sorted by name.
func (a *Archive) newest(ctx context.Context) ([]*source, error) {
	byName := map[string]*source{}
	for _, suite := range a.options.Suites {
		for _, component := range a.options.Components {
			listed, err := a.listed(ctx, suite, component)
			if err != nil {
				return nil, err
			}
			for _, s := range listed {
				if known := byName[s.name]; known == nil || index.CompareVersions(s.version, known.version) > 0 {
					byName[s.name] = s
				}
			}
		}
	}
	all := make([]*source, 0, len(byName))
	for _, s := range byName {
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y *source) int { return cmp.Compare(x.name, y.name) })
	return all, nil
}

// addBinaries adds the binary packages made of the sources to their places, and sorts
// those by size.
func (a *Archive) addBinaries(ctx context.Context, all []*source) error {
	bySource := make(map[[2]string]*source, len(all))
	for _, s := range all {
		bySource[[2]string{s.name, s.version}] = s
	}
	indexes, err := a.signed.Indexes(ctx, a.architecture)
	if err != nil {
		return err
	}
	defer func() {
		for _, opened := range indexes {
			opened.Close()
		}
	}()
	mirrors := map[string]string{}
	for _, suite := range a.options.Suites {
		mirrors[suite.Name] = suite.Mirror
	}
	universe := index.NewUniverse(indexes...)
	for name := range universe.Names() {
		if err := ctx.Err(); err != nil {
			return err
		}
		versions, err := universe.Versions(name)
		if err != nil {
			return err
		}
		for _, p := range versions {
			if s := bySource[[2]string{p.Source, p.SourceVersion}]; s != nil {
				s.places = append(s.places, place{mirrors[p.Suite], p.Filename, archive.File{SHA256: p.SHA256, Size: p.Size}, p.Name})
			}
		}
	}
	for _, s := range all {
		slices.SortStableFunc(s.places, func(x, y place) int { return cmp.Compare(x.file.Size, y.file.Size) })
	}
	return nil
}

// errNowhere says that no place has the changelog.
var errNowhere = errors.New("no file of it that the mirror has holds its changelog")

// changelog gives the text from the smallest file that has it.
func (s *source) changelog(ctx context.Context, pool *archive.Pool) (io.ReadCloser, error) {
	for _, p := range s.places {
		if p.file.Size > maxFile {
			continue
		}
		file, err := pool.Package(ctx, p.mirror, p.path, p.file)
		if fault.KindOf(err) == fault.NotFound {
			continue // a mirror may lack source packages
		}
		if err != nil {
			return nil, err
		}
		text, err := p.open(file, s)
		file.Close()
		if err != nil {
			return nil, fault.New(fault.Denied, "read changelog", p.path, err).WithHint("it is signed, but malformed: tell the archive's keeper")
		}
		if err := pool.Forget(p.file); err != nil { // it is read once
			return nil, err
		}
		if text != nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("%s %s: %w", s.name, s.version, errNowhere)
}
