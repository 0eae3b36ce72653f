package inspect

import (
	"archive/tar"
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"plimsoll.dev/plimsoll/internal/oci"
)

// Limits of what is read of the layers of one image.
const (
	maxPlain    = 1 << 30   // bytes of the base's tars
	maxSBOM     = 256 << 20 // bytes of the tar of bills of materials
	maxFile     = 32 << 20  // bytes of one file that is understood
	maxLayers   = 256       // that are read for their inventory
	maxPackages = 100_000
	maxName     = 1 << 10   // bytes of a package's name, or of its version
	maxWindow   = 128 << 20 // bytes that a zstd stream may look back

	// smallLayer is the compressed size up to which a layer is read although the one below
	// held no inventory: bases have small layers for accounts and certificates between
	// those of packages.
	smallLayer = 256 << 10
)

var (
	errTooMuch = errors.New("it is too large to be read here")
	errMany    = fmt.Errorf("it has more than %d packages", maxPackages)
)

// inventories says what packages the layers hold.
func inventories(ctx context.Context, s *subject, r *Image) error {
	rd := &reader{subject: s, left: maxPlain}
	if !rd.annotations(r) {
		if err := rd.inventory(ctx, r); err != nil {
			return err
		}
	}
	rd.left = maxSBOM
	if err := rd.materials(ctx, r); err != nil {
		return err
	}
	r.Packages = count(r.Layers)
	return nil
}

// annotations reads "name=version", separated by spaces, of each layer that has it; told is
// false when none says what it is.
func (rd *reader) annotations(r *Image) (told bool) {
	for i, d := range rd.Image.Layers {
		if d.Annotations[oci.LayerAnnotation] == "" {
			continue
		}
		told, r.Layers[i].Told = true, ToldByManifest
		for field := range strings.FieldsSeq(d.Annotations[oci.PackagesAnnotation]) {
			if err := rd.found(); err != nil {
				r.unknown("packages", "%v", err)
				return true
			}
			name, version, _ := strings.Cut(field, "=")
			r.Layers[i].Packages = append(r.Layers[i].Packages, Package{"deb", cut(name, maxName), cut(version, maxName)})
		}
	}
	return told
}

// count counts the packages by ecosystem, each once: a layer may change one that another
// holds.
func count(layers []Layer) []Count {
	here := map[[2]string]bool{}
	for _, l := range layers {
		for _, name := range l.Removed {
			delete(here, [2]string{"deb", name})
		}
		for _, p := range l.Packages {
			key := [2]string{p.Type, p.Name}
			if p.Type != "deb" { // elsewhere several versions live side by side
				key[1] += "@" + p.Version
			}
			here[key] = true
		}
	}
	sums := map[string]int{}
	for key := range here {
		sums[key[0]]++
	}
	var all []Count
	for _, kind := range sortedKeys(sums) {
		all = append(all, Count{kind, sums[kind]})
	}
	return all
}

// reader reads layers of the subject, but no more than it may.
type reader struct {
	*subject
	left     int64 // bytes of tars
	packages int
}

// found counts a package.
func (rd *reader) found() error {
	if rd.packages++; rd.packages > maxPackages {
		return errMany
	}
	return nil
}

// inventory reads what dpkg, or who composed the base, left in its layers: of an image that
// does not say where its base ends, in the lowest ones.
func (rd *reader) inventory(ctx context.Context, r *Image) error {
	end := 0
	for end < len(r.Layers) && r.Layers[end].Part == PartBase {
		end++
	}
	sure := end > 0
	if !sure {
		end = len(r.Layers)
	}
	held := map[string]string{} // version by name, as of the layers read so far
	read, told, found, why := 0, true, false, ""
	for read < min(end, maxLayers) && (sure || told || r.Layers[read].Size <= smallLayer) {
		change, err := rd.dpkg(ctx, read)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			why = fmt.Sprintf(" (layer %d: %v)", read+1, err)
			break
		}
		if told = change.present; told {
			change.apply(held, &r.Layers[read])
			found = true
		}
		read++
	}
	if !found {
		r.unknown("packages", "no dpkg inventory is in %s%s", these(read, len(r.Layers)), why)
		return nil
	}
	for i := range read {
		r.Layers[i].Told = ToldByInventory // those that have no inventory change nothing
	}
	if read < end {
		r.unknown("packages", "only %s were read%s; those above may bring more", these(read, len(r.Layers)), why)
	}
	return nil
}

func these(read, all int) string {
	if read == all {
		return "its layers"
	}
	return fmt.Sprintf("the lowest %d of its %d layers", read, all)
}

// change is what a layer's files say of packages.
type change struct {
	whole   bool              // it has dpkg's own list, which names all there are
	status  map[string]string // version by name
	gone    []string          // names whose own file is removed
	present bool              // it says anything
}

// apply brings what is held up to date, and tells the layer what it did.
func (c *change) apply(held map[string]string, l *Layer) {
	if c.whole {
		for name := range held {
			if _, still := c.status[name]; !still {
				c.gone = append(c.gone, name)
			}
		}
	}
	for _, name := range slices.Sorted(slices.Values(c.gone)) {
		if _, ok := held[name]; ok {
			delete(held, name)
			l.Removed = append(l.Removed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.status)) {
		if version, ok := held[name]; !ok || version != c.status[name] {
			l.Packages = append(l.Packages, Package{"deb", name, c.status[name]})
		}
		held[name] = c.status[name]
	}
}

// Where packages are listed: by dpkg, and, a file each, in bases composed without it.
const (
	statusFile = "var/lib/dpkg/status"
	statusDir  = "var/lib/dpkg/status.d"
	whiteout   = ".wh." // OCI image-spec, layer.md, "Whiteouts"
)

// dpkg reads the inventory in one layer.
func (rd *reader) dpkg(ctx context.Context, layer int) (*change, error) {
	c := &change{status: map[string]string{}}
	err := rd.walk(ctx, layer, func(name string, file io.Reader) error {
		dir, last := path.Split(name)
		removed, isRemoval := strings.CutPrefix(last, whiteout)
		switch {
		case isRemoval && dir == statusDir+"/":
			c.present, c.gone = true, append(c.gone, removed)
			return nil
		case name == statusFile:
			c.whole = true
		case dir != statusDir+"/" || strings.HasSuffix(last, ".md5sums"):
			return nil
		}
		c.present = true
		return rd.stanzas(file, c.status)
	})
	return c, err
}

// stanzas reads the packages that are installed from a control file (deb822, Debian Policy
// 5.1; dpkg-query(1), "Status").
func (rd *reader) stanzas(file io.Reader, into map[string]string) error {
	left := int64(maxFile)
	lines := bufio.NewScanner(&bounded{file, &left})
	lines.Buffer(nil, 1<<20)
	var name, version, status string
	end := func() error {
		if name != "" && (status == "" || strings.HasSuffix(status, " installed")) {
			if err := rd.found(); err != nil {
				return err
			}
			into[cut(name, maxName)] = cut(version, maxName)
		}
		name, version, status = "", "", ""
		return nil
	}
	for lines.Scan() {
		line := lines.Text()
		if strings.TrimSpace(line) == "" {
			if err := end(); err != nil {
				return err
			}
			continue
		}
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); strings.ToLower(key) {
		case "package":
			name = value
		case "version":
			version = value
		case "status":
			status = value
		}
	}
	return cmp.Or(lines.Err(), end())
}

// walk calls visit for each regular file and whiteout of a layer, by its path without a
// leading slash.
func (rd *reader) walk(ctx context.Context, layer int, visit func(string, io.Reader) error) error {
	packed, err := rd.open(ctx, rd.Image.Layers[layer])
	if err != nil {
		return err
	}
	defer packed.Close()
	plain, err := unpack(packed)
	if err != nil {
		return err
	}
	defer plain.Close()
	files := tar.NewReader(&bounded{plain, &rd.left})
	for ctx.Err() == nil {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := visit(strings.TrimPrefix(path.Clean("/"+header.Name), "/"), files); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// bounded is a reader that fails when all that is left is used up.
type bounded struct {
	io.Reader
	left *int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if *b.left -= int64(n); *b.left < 0 {
		return n, errTooMuch
	}
	return n, err
}

// unpack gives the tar in a layer's bytes. These say themselves how they are packed, for
// media types are not always right about it.
func unpack(packed io.Reader) (io.ReadCloser, error) {
	start := bufio.NewReader(packed)
	magic, _ := start.Peek(4) // a shorter one is no archive, which the tar reader tells
	switch {
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		return gzip.NewReader(start)
	case string(magic) == "\x28\xb5\x2f\xfd":
		decoder, err := zstd.NewReader(start, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return decoder.IOReadCloser(), nil
	}
	return io.NopCloser(start), nil
}
