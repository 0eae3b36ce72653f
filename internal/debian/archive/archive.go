// Package archive takes the names of suites and gives their verified package indexes and
// packages: every byte is traced to a signature by a key of the keyring.
//
// The chain is Debian's own (apt-secure(8)): InRelease is signed; it lists the SHA-256 of
// each Packages index; an index lists the SHA-256 of each .deb.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/cache"
	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Suite is one suite of an archive and the mirror that serves it.
type Suite struct {
	Name   string // "trixie", "trixie-security"
	Mirror string // http, https or file address, or an absolute folder
}

// Options say how archives are read.
type Options struct {
	Suites     []Suite  // in the spec's order
	Components []string // "main"
	Keyring    *Keyring

	Cache string // folder of what can be fetched again
	State string // folder of what must be remembered: the dates last seen

	Now   func() time.Time // nil is time.Now
	Agent string           // User-Agent of requests
}

// Archive is a set of suites whose Release files were verified.
type Archive struct {
	options  Options
	fetch    *fetcher
	releases []*Release // one for each of options.Suites
}

// Open fetches and verifies the InRelease file of every suite. A file that is unsigned,
// tampered with, stale, for another suite or older than the one last seen is refused.
func Open(ctx context.Context, options Options) (*Archive, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	a := &Archive{options: options, fetch: newFetcher(options.Agent), releases: make([]*Release, len(options.Suites))}
	group, ctx := errgroup.WithContext(ctx)
	for i, suite := range options.Suites {
		group.Go(func() (err error) {
			a.releases[i], err = a.release(ctx, suite)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return a, nil
}

// Forget removes the kept indexes; Indexes fetches them again.
func (a *Archive) Forget() error {
	if err := os.RemoveAll(filepath.Join(a.options.Cache, "index")); err != nil {
		return fault.New(fault.Failed, "remove indexes", a.options.Cache, err)
	}
	return nil
}

func newFetcher(agent string) *fetcher {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 8
	transport.ResponseHeaderTimeout = time.Minute
	return &fetcher{client: &http.Client{Transport: transport}, agent: agent}
}

func (a *Archive) release(ctx context.Context, suite Suite) (*Release, error) {
	const what = "verify InRelease"
	if err := checkMirror(suite.Mirror); err != nil {
		return nil, err
	}
	which := suite.Name + " at " + Redact(suite.Mirror)
	text, err := a.fetch.small(ctx, suite.Mirror, "dists/"+suite.Name+"/InRelease", maxRelease)
	if err != nil {
		return nil, judge(ctx, "fetch InRelease", which, err,
			"check the suite's name and the mirror; an archive without a signed InRelease is not accepted")
	}
	now := a.options.Now()
	release, err := a.options.Keyring.Verify(text, now)
	if err != nil {
		return nil, fault.New(fault.Denied, what, which, err).
			WithHint("the archive was tampered with, or is signed by a key outside the keyring (archive.keyring)")
	}
	if err := release.check(suite.Name, now); err != nil {
		return nil, fault.New(fault.Denied, what, which, err).WithHint("the mirror may be out of date or withheld: try another one")
	}
	if err := a.remember(suite, release); err != nil {
		return nil, err
	}
	return release, nil
}

// Indexes gives the package index of every suite and component for the architecture, in
// the spec's order. The caller closes them.
func (a *Archive) Indexes(ctx context.Context, architecture string) ([]*index.Index, error) {
	components := a.options.Components
	indexes := make([]*index.Index, len(a.options.Suites)*len(components))
	group, ctx := errgroup.WithContext(ctx)
	for i, suite := range a.options.Suites {
		for j, component := range components {
			group.Go(func() (err error) {
				indexes[i*len(components)+j], err = a.index(ctx, suite, a.releases[i], component, architecture)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		for _, opened := range indexes {
			if opened != nil {
				opened.Close()
			}
		}
		return nil, err
	}
	return indexes, nil
}

func (a *Archive) index(ctx context.Context, suite Suite, release *Release, component, architecture string) (*index.Index, error) {
	name := component + "/binary-" + architecture + "/Packages"
	which := suite.Name + " " + name + " at " + Redact(suite.Mirror)
	plain, ok := release.Files[name]
	if !ok {
		return nil, fault.Newf(fault.NotFound, "find index", which, "the suite does not list it").
			WithHint("check the spec's components and architectures")
	}
	path := filepath.Join(a.options.Cache, "index", plain.SHA256)
	if opened, err := index.Open(path, suite.Name); err == nil {
		cache.Used(path)
		return opened, nil
	}
	opened, err := a.buildIndex(ctx, suite, release, name, path)
	if err != nil {
		return nil, judge(ctx, "fetch index", which, err, "the mirror may be in the middle of an update: try again, or another mirror")
	}
	return opened, nil
}

// buildIndex streams the smallest form of the Packages file that the Release lists through
// decompression and both hashes into the compact index at path, and opens it before it has that
// name, which the cache may drop again.
func (a *Archive) buildIndex(ctx context.Context, suite Suite, release *Release, name, path string) (opened *index.Index, err error) {
	err = aside.Write(path, func(f *os.File) error {
		err := a.stream(ctx, suite, release, name, func(plain io.Reader) error { return index.Build(ctx, plain, f) })
		if err != nil {
			return err
		}
		opened, err = index.Open(f.Name(), suite.Name)
		return err
	})
	if err != nil && opened != nil {
		opened.Close()
	}
	return opened, err
}

// Sources hands the verified Sources index of the suite's component to read. What read
// makes of it counts only if Sources gives no error: bytes are judged at their end.
func (a *Archive) Sources(ctx context.Context, suite, component string, read func(plain io.Reader) error) error {
	for i, s := range a.options.Suites {
		if s.Name != suite {
			continue
		}
		name := component + "/source/Sources"
		which := suite + " " + name + " at " + Redact(s.Mirror)
		if _, ok := a.releases[i].Files[name]; !ok {
			return fault.Newf(fault.NotFound, "find sources", which, "the suite does not list it")
		}
		if err := a.stream(ctx, s, a.releases[i], name, read); err != nil {
			return judge(ctx, "fetch sources", which, err, "the mirror may be in the middle of an update: try again, or another mirror")
		}
		return nil
	}
	return fault.Newf(fault.NotFound, "find sources", suite, "no such suite was opened")
}

// Release gives what the verified Release of the suite says, or nil for a suite that was
// not opened.
func (a *Archive) Release(suite string) *Release {
	for i, s := range a.options.Suites {
		if s.Name == suite {
			return a.releases[i]
		}
	}
	return nil
}

// stream hands the plain text of an index to read, from the smallest form that the Release
// lists, through both hashes.
func (a *Archive) stream(ctx context.Context, suite Suite, release *Release, name string, read func(io.Reader) error) error {
	var packed File
	suffix := ""
	for _, s := range []string{".xz", ".gz", ""} {
		if f, ok := release.Files[name+s]; ok {
			packed, suffix = f, s
			break
		}
	}
	body, err := a.openIndex(ctx, suite, release, name+suffix, packed)
	if err != nil {
		return err
	}
	defer body.Close()
	outer := newCheck(body, packed)
	plain, err := unpack(outer, suffix, release.Files[name], read)
	if broken := outer.end(); broken != nil {
		return broken // what came next only stumbled over what was never signed
	}
	if err != nil {
		return err
	}
	return plain.end()
}

// unpack hands the plain text of a packed index to read, and gives the check of it, which
// is still to be ended.
func unpack(packed io.Reader, suffix string, want File, read func(io.Reader) error) (*check, error) {
	inner, err := decompress(packed, suffix)
	if err != nil {
		return nil, err
	}
	plain := newCheck(inner, want)
	return plain, read(plain)
}

func (a *Archive) openIndex(ctx context.Context, suite Suite, release *Release, name string, packed File) (io.ReadCloser, error) {
	root := "dists/" + suite.Name + "/"
	if release.ByHash {
		byHash := root + filepath.ToSlash(filepath.Dir(name)) + "/by-hash/SHA256/" + packed.SHA256
		body, err := a.fetch.open(ctx, suite.Mirror, byHash)
		if !errors.Is(err, errAbsent) {
			return body, err
		}
	}
	return a.fetch.open(ctx, suite.Mirror, root+name)
}

// Pool fetches packages by the hashes that an index or a lock vouches for.
type Pool struct {
	cache string
	fetch *fetcher
}

// NewPool gives a pool that keeps packages below the cache folder.
func NewPool(cache, agent string) *Pool {
	return &Pool{cache: cache, fetch: newFetcher(agent)}
}

// Package gives a verified .deb, open at its start, fetched when it is not in the cache; the caller
// closes it. The cached file is hashed again at each call: a disk, too, can lie.
func (p *Pool) Package(ctx context.Context, mirror, filename string, want File) (*os.File, error) {
	path := p.path(want)
	if kept, err := openFile(path, want); err == nil {
		cache.Used(path)
		return kept, nil
	}
	if err := checkMirror(mirror); err != nil {
		return nil, err
	}
	which := filename + " at " + Redact(mirror)
	const moved = "the archive has moved on: run again without --locked, or name a mirror that keeps old versions"
	var err error
	for range tries { // a large file may well break off on the way
		var body io.ReadCloser
		if body, err = p.fetch.open(ctx, mirror, filename); err != nil {
			return nil, judge(ctx, "fetch package", which, err, moved)
		}
		var stored *os.File
		stored, err = store(body, want, path)
		body.Close()
		if err == nil {
			return stored, nil
		}
		if !errors.Is(err, errBroken) || ctx.Err() != nil {
			break
		}
	}
	return nil, judge(ctx, "verify package", which, err, moved)
}

// Forget removes a .deb that is needed no more.
func (p *Pool) Forget(want File) error {
	if err := os.Remove(p.path(want)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Failed, "remove package", p.path(want), err)
	}
	return nil
}

func (p *Pool) path(want File) string { return filepath.Join(p.cache, "deb", want.SHA256+".deb") }

// openFile opens the file at path, at its start, if it is the one wanted.
func openFile(path string, want File) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err = newCheck(f, want).end(); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}
