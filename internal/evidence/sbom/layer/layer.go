// Package layer takes the bytes of one layer of an image and gives a Record: what it tells
// of packages and files, and what it hides of the layers below. The layer is read once, as
// a stream, and nothing of it is unpacked by name.
package layer

import (
	"archive/tar"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/extract"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Options bound what is read. The zero value is good.
type Options struct {
	Temp       string // folder for files that extractors need on disk; "" is the system's
	MaxBytes   int64  // of a layer, uncompressed; 0 is 32 GiB
	MaxEntries int    // of a layer; 0 is a million
}

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = 32 << 30
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = 1_000_000
	}
	return o
}

// Read reads the layer, which may be compressed, and checks that it is the one of that
// diffID. Files that cannot be understood are gaps; a tar that cannot is an error.
func Read(ctx context.Context, diffID string, packed io.Reader, options Options) (*Record, error) {
	options = options.withDefaults()
	s, err := open(packed, options.MaxBytes)
	if err != nil {
		return nil, refuse(diffID, err)
	}
	defer s.close()
	r := newReader(options)
	defer r.spool.close()
	if err := r.entries(ctx, tar.NewReader(s)); err != nil {
		return nil, refuse(diffID, err)
	}
	got, err := s.finish()
	if err != nil {
		return nil, refuse(diffID, err)
	}
	if got != diffID {
		return nil, refuse(diffID, fmt.Errorf("its bytes have the sum %s", got))
	}
	return r.record(diffID), nil
}

// refuse says why a layer was not read. Bytes that did not arrive keep their own kind.
func refuse(diffID string, why error) error {
	var known *fault.Error
	if errors.As(why, &known) || errors.Is(why, context.Canceled) {
		return fault.New(fault.KindOf(why), "read layer", diffID, why)
	}
	return fault.New(fault.Denied, "read layer", diffID, why).
		WithHint("the layer is damaged or made to do harm: build or fetch the image again")
}

// reader collects what the entries of one layer tell.
type reader struct {
	options    Options
	extractors []extract.Extractor
	spool      *spool
	sha1       hash.Hash
	sha256     hash.Hash
	buf        []byte

	seen      int
	bytes     int64 // of regular files, as their headers say; a sparse one has more than the tar
	told      int   // packages and owned paths
	tells     map[string]Tell
	files     map[string]artifact.File
	gaps      []artifact.Gap
	owners    owners
	over, cut Paths
}

func newReader(options Options) *reader {
	return &reader{
		options: options, extractors: extract.All(), spool: &spool{dir: options.Temp},
		sha1: sha1.New(), sha256: sha256.New(), buf: make([]byte, 64<<10),
		tells: map[string]Tell{}, files: map[string]artifact.File{}, owners: newOwners(),
	}
}

func (r *reader) entries(ctx context.Context, in *tar.Reader) error {
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // cleanName judges those
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.seen++; r.seen > r.options.MaxEntries {
			return fmt.Errorf("it has more than %d entries", r.options.MaxEntries)
		}
		if err := r.entry(ctx, h, in); err != nil {
			return err
		}
	}
}

func (r *reader) entry(ctx context.Context, h *tar.Header, body io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil || name == "." {
		return err
	}
	if gone, opaque, is := whiteout(name); is {
		if gone != "" {
			r.cut = append(r.cut, HashOf(gone))
			if !opaque {
				r.over = append(r.over, HashOf(gone))
			}
		}
		return nil
	}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeDir:
		r.over = append(r.over, HashOf(name))
		return nil
	}
	here := HashOf(name)
	r.over, r.cut = append(r.over, here), append(r.cut, here)
	delete(r.tells, name)
	delete(r.files, name)
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return r.regular(ctx, name, h, body)
	case tar.TypeSymlink:
		if path.Dir(name) == "usr/share/doc" { // packages of one source share their papers
			r.tells[name] = Tell{Path: name, Link: h.Linkname}
		}
	case tar.TypeLink:
		if target, err := cleanName(h.Linkname); err == nil {
			r.hardLink(name, target)
		}
	}
	return nil
}

// hardLink makes the path a file like the one it leads to, which tells the same: that one may
// be replaced or hidden later.
func (r *reader) hardLink(name, target string) {
	if t, ok := r.tells[target]; ok {
		t.Path = name
		r.tells[name] = t
	}
	if f, ok := r.files[target]; ok {
		f.Path = name
		r.files[name] = f
	}
}

// regular reads a file: it is hashed, and given to the extractor that wants it.
func (r *reader) regular(ctx context.Context, name string, h *tar.Header, body io.Reader) error {
	if r.bytes += h.Size; h.Size < 0 || r.bytes > r.options.MaxBytes {
		return errTooLarge
	}
	mode := h.FileInfo().Mode().Perm()
	head := r.buf[:min(8, h.Size)]
	if _, err := io.ReadFull(body, head); err != nil {
		return err
	}
	r.sha1.Reset()
	r.sha256.Reset()
	hashed := io.MultiWriter(r.sha1, r.sha256)
	e := r.wanting(name, mode, head)
	f := extract.File{Path: name, Size: h.Size, Mode: mode, Temp: r.options.Temp}
	if e != nil && h.Size <= e.Limit {
		if err := r.spool.begin(h.Size); err != nil {
			return err
		}
		hashed = io.MultiWriter(r.sha1, r.sha256, r.spool)
	}
	if _, err := hashed.Write(head); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(hashed, onlyReader{body}, r.buf[8:]); err != nil {
		return err
	}
	file := artifact.File{Path: name, Size: h.Size, Executable: mode&0o111 != 0}
	file.SHA1, file.SHA256 = hex.EncodeToString(r.sha1.Sum(nil)), hex.EncodeToString(r.sha256.Sum(nil))
	r.files[name] = file
	if e == nil {
		return nil
	}
	f.Body = r.spool
	return r.extract(ctx, e, f)
}

// onlyReader keeps io.Copy from asking the tar reader to write: it would do so in blocks of
// its own size.
type onlyReader struct{ io.Reader }

// wanting gives the extractor for the file, or nil.
func (r *reader) wanting(name string, mode fs.FileMode, head []byte) *extract.Extractor {
	for i := range r.extractors {
		e := &r.extractors[i]
		if e.Wants(name, mode) && (e.Magic == nil || e.Magic(head)) {
			return e
		}
	}
	return nil
}

// maxTold bounds the packages and the owned paths that a layer tells of, together.
const maxTold = 4_000_000

func (r *reader) extract(ctx context.Context, e *extract.Extractor, f extract.File) error {
	found, err := e.Run(ctx, f)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		found.Gaps = append(found.Gaps, err.Error())
	}
	for _, why := range found.Gaps {
		why = strings.ToValidUTF8(strings.Join(strings.Fields(why), " "), "")
		r.gaps = append(r.gaps, artifact.Gap{Path: f.Path, Why: e.Name + ": " + why})
	}
	if r.told += 1 + len(found.Packages) + len(found.Owns) + len(found.Declared); r.told > maxTold {
		return fmt.Errorf("it tells of more than %d packages and files", maxTold)
	}
	r.owners.add(found.Owns)
	if i := found.Whole - 1; i >= 0 {
		found.Packages[i].SHA256 = r.files[f.Path].SHA256
	}
	t := Tell{Path: f.Path, Packages: found.Packages, Licenses: found.Licenses, Distro: found.Distro, Declared: found.Declared}
	if len(t.Packages)+len(t.Licenses)+len(t.Declared) > 0 || t.Distro != nil {
		r.tells[f.Path] = t
	}
	return nil
}
