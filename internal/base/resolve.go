package base

import (
	"context"
	"errors"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/debian/archive"
	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/debian/resolve"
	"plimsoll.dev/plimsoll/internal/fault"
)

// signed verifies the archive's suites.
func (b *Builder) signed(ctx context.Context, a v1alpha1.Archive, mirrors map[string]string) (*archive.Archive, error) {
	keyring, err := keyringOf(a)
	if err != nil {
		return nil, err
	}
	options := archive.Options{
		Components: a.Components, Keyring: keyring, Agent: b.Agent,
		Suites: suitesOf(a, mirrors),
		Cache:  b.cache("debian"), State: filepath.Join(b.Home, "archives"),
	}
	done := b.stage("verifying suites", len(a.Suites))
	signed, err := archive.Open(ctx, options)
	if err != nil {
		return nil, err
	}
	for range a.Suites {
		done()
	}
	return signed, nil
}

// keyringOf reads the keys that the archive may be signed with.
func keyringOf(a v1alpha1.Archive) (*archive.Keyring, error) {
	if a.Keys != "" {
		return archive.ReadKeyring("archive.keys", []byte(a.Keys))
	}
	return archive.LoadKeyring(a.Keyring)
}

// Signed gives the suites of the archive with the mirrors that serve them, in its order, and the
// keys that they may be signed with.
func (b *Builder) Signed(a v1alpha1.Archive) ([]archive.Suite, *archive.Keyring, error) {
	mirrors, err := b.mirrors(a)
	if err != nil {
		return nil, nil, err
	}
	keyring, err := keyringOf(a)
	if err != nil {
		return nil, nil, err
	}
	return suitesOf(a, mirrors), keyring, nil
}

func suitesOf(a v1alpha1.Archive, mirrors map[string]string) []archive.Suite {
	suites := make([]archive.Suite, len(a.Suites))
	for i, suite := range a.Suites {
		suites[i] = archive.Suite{Name: suite, Mirror: mirrors[suite]}
	}
	return suites
}

// resolve verifies the archive and chooses the packages of every architecture.
func (b *Builder) resolve(ctx context.Context, spec *v1alpha1.BaseImageSpec, mirrors map[string]string) (*Lock, error) {
	signed, err := b.signed(ctx, spec.Archive, mirrors)
	if err != nil {
		return nil, err
	}
	lock := &Lock{APIVersion: v1alpha1.APIVersion, Kind: LockKind, For: wishOf(spec), Images: make([]LockedImage, len(spec.Architectures))}
	group, ctx := errgroup.WithContext(ctx)
	done := b.stage("resolving architectures", len(spec.Architectures))
	for i, architecture := range spec.Architectures {
		group.Go(func() (err error) {
			lock.Images[i], err = resolveOne(ctx, signed, spec, architecture)
			done()
			return err
		})
	}
	return lock, group.Wait()
}

// resolveOne chooses the packages of one architecture. An index that was damaged on the
// disk is made again, once.
func resolveOne(ctx context.Context, signed *archive.Archive, spec *v1alpha1.BaseImageSpec, architecture string) (LockedImage, error) {
	image, err := resolveFrom(ctx, signed, spec, architecture)
	if errors.Is(err, index.ErrUnusable) {
		if err := signed.Forget(); err != nil {
			return LockedImage{}, err
		}
		return resolveFrom(ctx, signed, spec, architecture)
	}
	return image, err
}

func resolveFrom(ctx context.Context, signed *archive.Archive, spec *v1alpha1.BaseImageSpec, architecture string) (LockedImage, error) {
	universe, done, err := universeOf(ctx, signed, architecture)
	if err != nil {
		return LockedImage{}, err
	}
	defer done()
	request := resolve.Request{Architecture: architecture, Packages: spec.Packages}
	for _, o := range spec.Omit {
		request.Omit = append(request.Omit, o.Package)
	}
	found, err := resolve.Resolve(ctx, universe, request)
	if err != nil {
		return LockedImage{}, err
	}
	return lockedImage(architecture, found), nil
}

// universeOf gives all packages of the archive for the architecture, until done is called.
func universeOf(ctx context.Context, signed *archive.Archive, architecture string) (universe *index.Universe, done func(), err error) {
	indexes, err := signed.Indexes(ctx, architecture)
	if err != nil {
		return nil, nil, err
	}
	return index.NewUniverse(indexes...), func() {
		for _, opened := range indexes {
			opened.Close()
		}
	}, nil
}

// vouch holds locked packages against the signed archive and gives, for each set, warnings
// for those that it does not offer any more. One that it offers with other bytes is
// refused.
func (b *Builder) vouch(ctx context.Context, spec *v1alpha1.BaseImageSpec, mirrors map[string]string, sets []LockedImage) ([][]Warning, error) {
	warnings := make([][]Warning, len(sets))
	signed, err := b.signed(ctx, spec.Archive, mirrors)
	if fault.KindOf(err) == fault.Unavailable {
		for i := range sets {
			warnings[i] = []Warning{{Package: "all", Missing: "the archive cannot be asked whether it signs these packages: only the lock vouches for them"}}
		}
		return warnings, nil
	}
	if err != nil {
		return nil, err
	}
	for i, set := range sets {
		universe, done, err := universeOf(ctx, signed, set.Architecture)
		if err != nil {
			return nil, err
		}
		for _, p := range set.Packages {
			offered, err := p.offered(universe)
			if err != nil {
				done()
				return nil, err
			}
			if !offered {
				warnings[i] = append(warnings[i], Warning{Package: p.Name, Missing: "the signed archive does not offer " + p.Version + " any more: only the lock vouches for it"})
			}
		}
		done()
	}
	return warnings, nil
}

// offered tells whether the archive signs exactly this package.
func (p Package) offered(universe *index.Universe) (bool, error) {
	versions, err := universe.Versions(p.Name)
	if err != nil {
		return false, err
	}
	found := false
	for _, v := range versions {
		if v.Version != p.Version || v.Architecture != p.Architecture {
			continue
		}
		if v.SHA256 == p.SHA256 {
			return true, nil
		}
		found = true
	}
	if found {
		return false, fault.Newf(fault.Denied, "use lock", p.String(), "the signed archive has other bytes under this version").
			WithHint("the lock was tampered with, or made from another archive: run without --locked")
	}
	return false, nil
}

// mirrors gives the mirror of every suite: the spec's, else the machine's own.
func (b *Builder) mirrors(a v1alpha1.Archive) (map[string]string, error) {
	mirrors := map[string]string{}
	var sources []archive.Source
	for _, suite := range a.Suites {
		mirrors[suite] = a.Mirror
		if own, ok := a.Mirrors[suite]; ok {
			mirrors[suite] = own
		}
		if mirrors[suite] != "" {
			continue
		}
		if sources == nil {
			root := b.AptSources
			if root == "" {
				root = "/etc/apt"
			}
			var err error
			if sources, err = archive.MachineSources(root); err != nil {
				return nil, fault.New(fault.Failed, "read the machine's apt sources", root, err)
			}
		}
		mirror, err := archive.MirrorFor(sources, suite)
		if err != nil {
			return nil, err
		}
		mirrors[suite] = mirror
	}
	return mirrors, nil
}
