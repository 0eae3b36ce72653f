// Package rootfs takes the layers of an image and gives one folder on disk that holds
// their joined root filesystem, each layer unpacked once and shared by hard links.
//
// A layer is unpacked into plain files with numbers for names and a list of the tar's
// entries. Joining happens in memory, entry by entry; only then is the finished tree laid
// out. No name and no link of a layer is therefore ever followed on the machine's own
// file system, which is what confines a hostile layer.
package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Options of a Store. The zero value serves an ordinary user.
type Options struct {
	// IDBase is added to every uid and gid of a layer, so that its files belong to nobody
	// on this machine. 0 leaves all files to the calling user; anything else needs root.
	IDBase uint32
	// MaxLayerBytes bounds the uncompressed size of one layer; 0 means 16 GiB.
	MaxLayerBytes int64
	// MaxLayerEntries bounds the entries of one layer; 0 means 1,000,000.
	MaxLayerEntries int
}

// Store is a cache folder of unpacked layers and joined roots. Any number of goroutines and
// processes may use one folder at the same time; a crash leaves nothing half made in it.
type Store struct {
	dir  string
	opt  Options
	boot string // names the machine's current boot
}

// Point is a place in a root filesystem that something will be mounted on.
type Point struct {
	Path string // absolute, inside the root filesystem
	Dir  bool   // a folder, or else a file
}

// Root is a joined root filesystem that stays on disk until it is released. Its files share
// their inodes with other roots: mount it read-only.
type Root struct {
	path   string
	points map[string]string
	lock   *lock
}

// Open gives the store in dir, which is made with mode 0700 when it is missing, and removes
// what crashed processes left unfinished in it.
func Open(dir string, opt Options) (*Store, error) {
	if opt.MaxLayerBytes == 0 {
		opt.MaxLayerBytes = 16 << 30
	}
	if opt.MaxLayerEntries == 0 {
		opt.MaxLayerEntries = 1_000_000
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault.New(fault.Failed, "open layer cache", dir, err)
	}
	// The layout's version and the id base are part of the path, so a later layout or
	// another base starts afresh instead of misreading what is there.
	s := &Store{dir: filepath.Join(abs, fmt.Sprintf("v1-%d", opt.IDBase)), opt: opt}
	for _, sub := range []string{"layers", "roots", "locks", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			return nil, fault.New(fault.Failed, "open layer cache", dir, err)
		}
	}
	// Layers hold setuid programs: nobody else on the machine may reach them.
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return nil, fault.New(fault.Failed, "open layer cache", dir, err)
	}
	if s.boot, err = bootID(); err != nil {
		return nil, fault.New(fault.Failed, "open layer cache", dir, err)
	}
	if err := s.sweep(context.Background()); err != nil {
		return nil, fault.New(fault.Failed, "open layer cache", dir, err)
	}
	return s, nil
}

// Root gives the root filesystem that the layers, bottom first, join to, with every point
// made where the layers lack it. It unpacks and joins only what is not there yet. The
// caller must Release it.
func (s *Store) Root(ctx context.Context, layers []executor.Layer, points []Point) (*Root, error) {
	key := rootKey(layers, points)
	dir := s.rootDir(key)
	held, err := s.hold(ctx, "root-"+key, dir, func() error { return s.join(ctx, dir, layers, points) })
	if err != nil {
		return nil, err
	}
	record, err := readRecord(dir)
	if err != nil {
		held.release()
		return nil, fault.New(fault.Failed, "read joined root", key, err)
	}
	return &Root{path: filepath.Join(dir, "fs"), points: record.Points, lock: held}, nil
}

// Path is the folder of the root filesystem.
func (r *Root) Path() string { return r.path }

// Point says where the asked-for point really lies, symbolic links followed: an absolute
// path inside the root filesystem.
func (r *Root) Point(path string) string { return r.points[path] }

// Release lets Prune take the root.
func (r *Root) Release() { r.lock.release() }

// rootRecord is what root.json says of a joined root.
type rootRecord struct {
	Layers []string          // diffIDs
	Points map[string]string // asked for -> where it lies
	Bytes  int64             // what the root takes besides its layers
}

func readRecord(dir string) (rootRecord, error) {
	var r rootRecord
	raw, err := os.ReadFile(filepath.Join(dir, "root.json"))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(raw, &r)
}

// rootKey names a joined root by all that shapes it. It is the chain of diffIDs, as in
// image-spec config.md, with the points added.
func rootKey(layers []executor.Layer, points []Point) string {
	h := sha256.New()
	for _, l := range layers {
		fmt.Fprintf(h, "%s\n", l.DiffID)
	}
	for _, p := range points {
		fmt.Fprintf(h, "%t %q\n", p.Dir, p.Path)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Store) rootDir(key string) string { return filepath.Join(s.dir, "roots", key) }

func (s *Store) layerDir(diffID string) string {
	return filepath.Join(s.dir, "layers", strings.TrimPrefix(diffID, "sha256:"))
}

// join makes a root at final.
func (s *Store) join(ctx context.Context, final string, layers []executor.Layer, points []Point) error {
	unpacked, release, err := s.unpackAll(ctx, layers)
	defer release()
	if err != nil {
		return err
	}
	tree, err := merge(unpacked)
	if err != nil {
		return err
	}
	where := make(map[string]string, len(points))
	for _, p := range points {
		if where[p.Path], err = tree.point(p); err != nil {
			return err
		}
	}
	return s.aside(ctx, final, func(dir string) error {
		bytes, err := s.layOut(ctx, tree, unpacked, filepath.Join(dir, "fs"))
		if err != nil {
			return fault.New(fault.Failed, "join root filesystem", "", err)
		}
		record := rootRecord{Points: where, Bytes: bytes}
		for _, l := range layers {
			record.Layers = append(record.Layers, l.DiffID)
		}
		return writeJSON(filepath.Join(dir, "root.json"), record)
	})
}

// unpackAll gives the layers unpacked, in order, and a function that lets go of them.
func (s *Store) unpackAll(ctx context.Context, layers []executor.Layer) ([]*layer, func(), error) {
	out := make([]*layer, len(layers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, l := range layers {
		group.Go(func() (err error) {
			out[i], err = s.layer(ctx, l)
			return err
		})
	}
	err := group.Wait()
	return out, func() {
		for _, l := range out {
			if l != nil {
				l.lock.release()
			}
		}
	}, err
}

func writeJSON(path string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}
