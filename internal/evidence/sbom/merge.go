package sbom

import (
	"cmp"
	"crypto/sha256"
	"path"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/layer"
)

// prepared is a record made ready for merging.
type prepared struct {
	diffID    string
	tells     []*tell
	files     []*file
	gaps      []*gap
	over, cut layer.Paths
}

// tell is a file that tells of packages, in its layer.
type tell struct {
	layer.Tell
	place
	diffID string
	from   []string // the layer that brought each package; nil is diffID for all
}

type file struct {
	artifact.File
	place
}

type gap struct {
	artifact.Gap
	place
}

// place is where a file lies, as hashes: first of its path, then of the folders above it.
type place []layer.Hash

func placeOf(file string) place {
	p := place{layer.HashOf(file)}
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		p = append(p, layer.HashOf(dir))
	}
	return append(p, layer.HashOf("."))
}

func prepare(r *layer.Record) *prepared {
	p := &prepared{diffID: r.DiffID, over: r.Over, cut: r.Cut}
	for _, t := range r.Tells {
		p.tells = append(p.tells, &tell{Tell: t, place: placeOf(t.Path), diffID: r.DiffID})
	}
	for _, f := range r.Files {
		f.Layer = r.DiffID
		p.files = append(p.files, &file{f, placeOf(f.Path)})
	}
	for _, g := range r.Gaps {
		g.Layer = r.DiffID
		p.gaps = append(p.gaps, &gap{g, placeOf(g.Path)})
	}
	return p
}

// Guesses of what things take in memory, in bytes.
const (
	tellSize    = 400
	packageSize = 500
	fileSize    = 500
)

func (p *prepared) size() int64 {
	n := 8*(len(p.over)+len(p.cut)) + fileSize*(len(p.files)+len(p.gaps))
	for _, t := range p.tells {
		n += tellSize + packageSize*(len(t.Packages)+len(t.Declared))
	}
	return int64(n)
}

// hides says whether a file of the layers below is no longer there.
func (p *prepared) hides(at place) bool {
	if p.over.Has(at[0]) {
		return true
	}
	return slices.ContainsFunc(at[1:], p.cut.Has)
}

// state is some lowest layers of images as one. It is never changed.
type state struct {
	tells  []*tell // in the order of layers, in a layer by path
	files  []*file
	unread []*gap
}

func (s *state) size() int64 { return int64(8 * (len(s.tells) + len(s.files) + len(s.unread))) }

// under gives the state with a layer upon it (image-spec, layer.md, "Applying changesets").
func (s *state) under(p *prepared) *state {
	next := &state{
		tells: make([]*tell, 0, len(s.tells)+len(p.tells)),
		files: make([]*file, 0, len(s.files)+len(p.files)),
	}
	replaced := map[string]*tell{}
	for _, t := range s.tells {
		if !p.hides(t.place) {
			next.tells = append(next.tells, t)
		} else if len(t.Packages) > 0 {
			replaced[t.Path] = t
		}
	}
	for _, f := range s.files {
		if !p.hides(f.place) {
			next.files = append(next.files, f)
		}
	}
	for _, g := range s.unread {
		if !p.hides(g.place) {
			next.unread = append(next.unread, g)
		}
	}
	for _, t := range p.tells {
		next.tells = append(next.tells, t.after(replaced[t.Path]))
	}
	next.files = append(next.files, p.files...)
	next.unread = append(next.unread, p.gaps...)
	return next
}

// after gives the tell with the packages that the file told of before it was replaced
// still in the layer that brought them: a package manager writes its whole database anew
// for each package.
func (t *tell) after(old *tell) *tell {
	if old == nil || len(t.Packages) == 0 {
		return t
	}
	was := map[identity]string{}
	for i, p := range old.Packages {
		was[identityOf(p, "")] = old.layerOf(i)
	}
	next := *t
	next.from = make([]string, len(t.Packages))
	for i, p := range t.Packages {
		next.from[i] = cmp.Or(was[identityOf(p, "")], t.diffID)
	}
	return &next
}

func (t *tell) layerOf(i int) string {
	if t.from == nil {
		return t.diffID
	}
	return t.from[i]
}

// identity is what makes two finds one package of an image: the same package that two
// layers bring is two, as a new base replaces only one of them.
type identity struct{ kind, namespace, name, version, arch, owner, layer string }

func identityOf(p artifact.Package, in string) identity {
	return identity{p.Type, p.Namespace, p.Name, p.Version, p.Arch, p.Owner, in}
}

// distro gives what os-release says; a file in /etc prevails (os-release(5)).
func (s *state) distro() artifact.Distro {
	var d artifact.Distro
	for _, t := range s.tells {
		if t.Distro != nil {
			d = *t.Distro
			if t.Path == "etc/os-release" {
				break
			}
		}
	}
	return d
}

// Bounds of the files of no package that are listed. Each takes about half a kilobyte in a
// bill: more would make evidence that is too large to be verified.
const (
	maxListed = 20_000
	maxPaths  = 4 << 20 // bytes of their paths
)

// listed gives the files, and how many there are besides. Where there are too many, those
// that can be run are listed first.
func (s *state) listed() (all []artifact.File, unlisted int) {
	all = make([]artifact.File, len(s.files))
	paths := 0
	for i, f := range s.files {
		all[i] = f.File
		paths += len(f.Path)
	}
	byPath := func(a, b artifact.File) int { return cmp.Compare(a.Path, b.Path) }
	if len(all) > maxListed || paths > maxPaths {
		slices.SortFunc(all, func(a, b artifact.File) int {
			switch {
			case a.Executable == b.Executable:
				return byPath(a, b)
			case a.Executable:
				return -1
			}
			return 1
		})
		n := 0
		for paths = 0; n < min(len(all), maxListed) && paths+len(all[n].Path) <= maxPaths; n++ {
			paths += len(all[n].Path)
		}
		all, unlisted = slices.Clone(all[:n]), len(all)-n
	}
	slices.SortFunc(all, byPath)
	return all, unlisted
}

func (s *state) gaps() []artifact.Gap {
	var all []artifact.Gap
	for _, g := range s.unread {
		all = append(all, g.Gap)
	}
	slices.SortStableFunc(all, func(a, b artifact.Gap) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

// packages gives those that the files tell of, sorted.
func (s *state) packages(d artifact.Distro) []artifact.Package {
	papers := s.papers()
	at := map[identity]int{}
	var all []artifact.Package
	for _, t := range s.tells {
		for i, p := range t.Packages {
			p.Layer = t.layerOf(i)
			id := identityOf(p, p.Layer)
			if known, ok := at[id]; ok {
				all[known].Paths = with(all[known].Paths, t.pathOf(p))
				continue
			}
			p.Paths, p.FoundBy = []string{t.pathOf(p)}, []string{"image"}
			complete(&p, d, papers)
			at[id] = len(all)
			all = append(all, p)
		}
	}
	return sortPackages(all)
}

// pathOf gives where a package is: in the file, or in an archive in it.
func (t *tell) pathOf(p artifact.Package) string {
	if len(p.Paths) > 0 {
		return p.Paths[0]
	}
	return t.Path
}

func with(paths []string, more string) []string {
	if !slices.Contains(paths, more) {
		paths = append(paths, more)
		slices.Sort(paths)
	}
	return paths
}

// complete gives a distribution's package its distribution, and its licences.
func complete(p *artifact.Package, d artifact.Distro, papers papers) {
	fallback := ""
	switch p.Type {
	case "deb":
		fallback = "debian"
		p.Licenses = papers.of(p.Name)
	case "apk":
		fallback = "alpine"
	case "rpm", "opkg":
	default:
		return
	}
	p.Namespace = cmp.Or(d.ID, fallback)
	if d.ID != "" {
		p.Distro = strings.TrimSuffix(d.ID+"-"+d.Version, "-")
	}
}

// papers are the Debian copyright files by the folder in usr/share/doc.
type papers struct {
	licenses map[string][]string
	links    map[string]string
}

func (s *state) papers() papers {
	p := papers{map[string][]string{}, map[string]string{}}
	for _, t := range s.tells {
		switch {
		case t.Licenses != nil:
			p.licenses[path.Base(path.Dir(t.Path))] = t.Licenses
		case t.Link != "":
			p.links[path.Base(t.Path)] = path.Base(t.Link)
		}
	}
	return p
}

// maxLinks bounds how far links are followed from one folder to another.
const maxLinks = 4

func (p papers) of(name string) []string {
	for range maxLinks {
		if known := p.licenses[name]; known != nil {
			return known
		}
		if name = p.links[name]; name == "" {
			break
		}
	}
	return nil
}

// sortPackages sorts by package URL, then by path.
func sortPackages(all []artifact.Package) []artifact.Package {
	type keyed struct {
		url string
		pkg artifact.Package
	}
	list := make([]keyed, len(all))
	for i, p := range all {
		list[i] = keyed{p.PURL(), p}
	}
	slices.SortStableFunc(list, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.url, b.url), slices.Compare(a.pkg.Paths, b.pkg.Paths), cmp.Compare(a.pkg.Layer, b.pkg.Layer))
	})
	for i, k := range list {
		all[i] = k.pkg
	}
	return all
}

// chainsOf gives, for each layer, a name of it and all below it (as image-spec, config.md,
// "Layer ChainID").
func chainsOf(ids []string) []string {
	chains := make([]string, len(ids))
	last := ""
	for i, id := range ids {
		sum := sha256.Sum256([]byte(last + id))
		last = string(sum[:])
		chains[i] = last
	}
	return chains
}
