package rootfs

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

// layer is an unpacked layer, held against pruning.
type layer struct {
	diffID  string
	dir     string
	entries []*entry
	lock    *lock
}

func (l *layer) blob(e *entry) string { return blobPath(l.dir, e.Blob) }

func blobPath(dir string, n int) string {
	return filepath.Join(dir, "f", strconv.Itoa(n>>10), strconv.Itoa(n))
}

// layer gives a layer unpacked; it unpacks it when no one has yet.
func (s *Store) layer(ctx context.Context, l executor.Layer) (*layer, error) {
	dir := s.layerDir(l.DiffID)
	held, err := s.hold(ctx, "layer-"+filepath.Base(dir), dir, func() error { return s.makeLayer(ctx, dir, l) })
	if err != nil {
		return nil, err
	}
	out := &layer{diffID: l.DiffID, dir: dir, lock: held}
	raw, err := os.ReadFile(filepath.Join(dir, "entries.json"))
	if err == nil {
		err = json.Unmarshal(raw, &out.entries)
	}
	if err != nil {
		held.release()
		return nil, fault.New(fault.Failed, "read unpacked layer", l.DiffID, err)
	}
	return out, nil
}

func (s *Store) makeLayer(ctx context.Context, final string, l executor.Layer) error {
	return s.aside(ctx, final, func(dir string) error {
		r, err := l.Open()
		if err != nil {
			return fault.New(fault.KindOf(err), "open layer", l.DiffID, err)
		}
		defer r.Close()
		return s.unpack(ctx, l.DiffID, r, dir)
	})
}

// unpack writes one tar into dir and holds it against its digest.
func (s *Store) unpack(ctx context.Context, diffID string, r io.Reader, dir string) error {
	u := &unpacker{
		ctx: ctx, dir: dir, idBase: s.opt.IDBase, maxEntries: s.opt.MaxLayerEntries,
		bytesLeft: s.opt.MaxLayerBytes, textLeft: maxLayerText, sum: sha256.New(), buf: make([]byte, 256<<10),
	}
	source := &bounded{r: r, left: s.opt.MaxLayerBytes}
	u.in = io.TeeReader(source, u.sum)
	if err := u.run(); err != nil {
		if ctx.Err() != nil {
			return fault.New(fault.Canceled, "unpack layer", diffID, ctx.Err())
		}
		if source.failed != nil {
			return fault.New(fault.KindOf(source.failed), "read layer", diffID, source.failed)
		}
		if _, ours := errors.AsType[*os.PathError](err); ours {
			return fault.New(fault.Failed, "unpack layer", diffID, err)
		}
		return refuse(diffID, err)
	}
	if got := "sha256:" + hex.EncodeToString(u.sum.Sum(nil)); got != diffID {
		return refuse(diffID, fmt.Errorf("its content is %s", got))
	}
	if err := writeJSON(filepath.Join(dir, "size.json"), u.disk); err != nil {
		return fault.New(fault.Failed, "unpack layer", diffID, err)
	}
	if err := writeJSON(filepath.Join(dir, "entries.json"), u.entries); err != nil {
		return fault.New(fault.Failed, "unpack layer", diffID, err)
	}
	return nil
}

// maxLayerText bounds what the names of one layer take in memory; 1,000,000 ordinary names
// take 60 MB.
const maxLayerText = 256 << 20

// unpacker is the state of unpacking one layer.
type unpacker struct {
	ctx        context.Context
	dir        string
	idBase     uint32
	maxEntries int
	bytesLeft  int64
	textLeft   int // bytes of names, links and attributes, which are kept in memory
	in         io.Reader
	sum        hash.Hash
	buf        []byte
	entries    []*entry
	blobs      int
	disk       int64 // bytes on disk, whole blocks
}

func (u *unpacker) run() error {
	t := tar.NewReader(u.in)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read tar: %w", err)
		}
		if err := u.ctx.Err(); err != nil {
			return err
		}
		e, err := newEntry(h)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		if u.textLeft -= e.text(); u.textLeft < 0 {
			return fmt.Errorf("%q brings the names in the layer over %d bytes", h.Name, maxLayerText)
		}
		if u.entries = append(u.entries, e); len(u.entries) > u.maxEntries {
			return fmt.Errorf("%q is one entry more than the %d allowed", h.Name, u.maxEntries)
		}
		if e.Kind != file {
			continue
		}
		// A sparse file may claim any size with no bytes behind it: count before writing.
		if u.bytesLeft -= e.Size; e.Size < 0 || u.bytesLeft < 0 {
			return fmt.Errorf("%q would make the layer larger than allowed", h.Name)
		}
		if err := u.write(t, e); err != nil {
			return err
		}
	}
	// The digest covers what follows the tar's end, too.
	_, err := io.CopyBuffer(io.Discard, u.in, u.buf)
	return err
}

// write stores a file's content and metadata as the next blob.
func (u *unpacker) write(r io.Reader, e *entry) error {
	u.blobs++
	e.Blob = u.blobs
	u.disk += (e.Size+4095)/4096*4096 + 4096
	path := blobPath(u.dir, e.Blob)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// Only the reader and the writer, with neither's shortcuts: a plain loop over one buffer.
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, u.buf)
	if err != nil {
		return fmt.Errorf("%q: %w", e.Name, err)
	}
	if n != e.Size {
		return fmt.Errorf("%q has %d bytes instead of %d", e.Name, n, e.Size)
	}
	if err := setMeta(path, e, u.idBase); err != nil {
		return err
	}
	return f.Close()
}

// setMeta gives what lies at path the owner, mode, attributes and time of the entry, as far
// as the kernel lets this user.
func setMeta(path string, e *entry, idBase uint32) error {
	if idBase != 0 {
		if err := os.Lchown(path, int(idBase)+e.UID, int(idBase)+e.GID); err != nil {
			return err
		}
	}
	for name, value := range e.Xattrs {
		// Attributes are a wish: not every file system has them, not every user may set them.
		_ = unix.Lsetxattr(path, name, []byte(value), 0)
	}
	if e.Kind != symlink {
		// After chown, which clears setuid and setgid.
		if err := unix.Chmod(path, e.Mode); err != nil {
			return &os.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	when := unix.NsecToTimespec(e.MTime)
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}

// bounded reads r and fails, rather than ends, past its limit.
type bounded struct {
	r      io.Reader
	left   int64
	failed error // what r said, when it was neither nil nor its end
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.failed = err
	}
	if b.left -= int64(n); b.left < 0 {
		return 0, errors.New("the layer is larger than allowed")
	}
	return n, err
}
