// Package index takes a Debian Packages file and gives its packages by name, from a compact
// file that is mapped into memory and of which only what is asked for is ever read.
//
// Build writes such a file once per Packages file; Open maps it in about a millisecond,
// whatever its size. A Universe joins the indexes of several suites. The relations between
// packages are read here too (ParseRelations); what they entail is resolve's.
package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// ErrUnusable is in the chain of an Open that met a file which is truncated, damaged or of
// another format version: build it anew.
var ErrUnusable = errors.New("not a usable index")

// Index is one suite's Packages file, mapped read-only. It is safe for concurrent use until
// Close.
type Index struct {
	suite    string
	data     []byte
	records  uint64 // where they end
	pool     []byte
	packages nameTable
	virtuals nameTable
	unmap    func() error
}

// nameTable is one sorted table of names within the mapped file.
type nameTable struct{ entries, postings []byte }

// Open maps the index file. suite is what its packages will say in Suite. A file that is
// missing is a NotFound fault; one that must be built anew has ErrUnusable in its chain.
func Open(path string, suite string) (*Index, error) {
	f, err := os.Open(path)
	if err != nil {
		kind := fault.Failed
		if errors.Is(err, fs.ErrNotExist) {
			kind = fault.NotFound
		}
		return nil, fault.New(kind, "open package index", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.New(fault.Failed, "open package index", path, err)
	}
	if info.Size() == 0 || info.Size() > 1<<40 {
		return nil, unusable(path, "its length is not an index's") // and cannot be mapped
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fault.New(fault.Failed, "map package index", path, err)
	}
	x, err := fromBytes(data, path, suite)
	if err != nil {
		_ = unix.Munmap(data) // the file's damage is the news
		return nil, err
	}
	x.unmap = sync.OnceValue(func() error { return unix.Munmap(data) })
	return x, nil
}

// fromBytes is Open without a file: nothing needs to be unmapped.
func fromBytes(data []byte, path, suite string) (*Index, error) {
	x := &Index{suite: suite, data: data, unmap: func() error { return nil }}
	if why := x.layOut(); why != "" {
		return nil, unusable(path, why)
	}
	return x, nil
}

func unusable(path, why string) error {
	return fault.New(fault.Failed, "open package index", path, fmt.Errorf("%w: %s", ErrUnusable, why))
}

// layOut finds the sections from the footer and gives what is wrong, or "".
func (x *Index) layOut() string {
	size := uint64(len(x.data))
	if size < headerSize+footerSize {
		return "it is too short"
	}
	footer := x.data[size-footerSize:]
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(footer[8*i:]) }
	switch {
	case string(x.data[:len(magicStart)]) != magicStart:
		return "it does not start like an index"
	case binary.LittleEndian.Uint32(x.data[8:]) != formatVersion:
		return "it is of another format version"
	case string(footer[footerSize-len(magicEnd):]) != magicEnd:
		return "it does not end like an index"
	case binary.LittleEndian.Uint64(footer[footerSize-16:]) != size:
		return "its length is not the one it was written with"
	case binary.LittleEndian.Uint32(footer[52:]) != checksum(footer[:52]):
		return "its footer is damaged"
	}
	sizes := [...]uint64{
		word(0), word(1), word(2) * entrySize, word(3) * postingSize, word(4) * entrySize, word(5) * postingSize,
	}
	var sections [len(sizes)][]byte
	at := uint64(headerSize)
	for i, n := range sizes {
		if n > size-footerSize-at {
			return "its sections do not fit"
		}
		sections[i] = x.data[at : at+n : at+n]
		at += n
	}
	if at != size-footerSize {
		return "its sections do not fill it"
	}
	x.records = headerSize + sizes[0]
	if binary.LittleEndian.Uint32(footer[48:]) != checksum(x.data[x.records:size-footerSize]) {
		return "its tables are damaged"
	}
	x.pool = sections[1]
	x.packages = nameTable{sections[2], sections[3]}
	x.virtuals = nameTable{sections[4], sections[5]}
	return ""
}

// Close unmaps the file. Packages it gave stay valid.
func (x *Index) Close() error { return x.unmap() }

// Suite gives the name Open was told.
func (x *Index) Suite() string { return x.suite }

// Versions gives the packages of that name in the order of the Packages file; none is no
// error. An error means that the index is damaged.
func (x *Index) Versions(name string) ([]*Package, error) { return x.find(x.packages, name) }

// Providers gives the packages whose Provides field names the virtual package, with a
// version or without, in the order of the Packages file; none is no error.
func (x *Index) Providers(virtual string) ([]*Package, error) { return x.find(x.virtuals, virtual) }

// Names gives all package names and then all provided names, each in byte order.
func (x *Index) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, t := range []nameTable{x.packages, x.virtuals} {
			for i := range len(t.entries) / entrySize {
				name, ok := x.name(t, i)
				if !ok || !yield(string(name)) {
					return
				}
			}
		}
	}
}

func (x *Index) name(t nameTable, i int) ([]byte, bool) {
	at := uint64(binary.LittleEndian.Uint32(t.entries[i*entrySize:]))
	n := uint64(binary.LittleEndian.Uint32(t.entries[i*entrySize+4:]))
	if at+n > uint64(len(x.pool)) {
		return nil, false
	}
	return x.pool[at : at+n], true
}

var errTable = fmt.Errorf("%w: a table points outside", ErrUnusable)

func (x *Index) find(t nameTable, want string) ([]*Package, error) {
	low, high := 0, len(t.entries)/entrySize
	for key := []byte(want); low < high; {
		mid := int(uint(low+high) >> 1)
		name, ok := x.name(t, mid)
		if !ok {
			return nil, x.damaged(errTable)
		}
		switch c := bytes.Compare(name, key); {
		case c == 0:
			return x.read(t, t.entries[mid*entrySize:])
		case c < 0:
			low = mid + 1
		default:
			high = mid
		}
	}
	return nil, nil
}

func (x *Index) read(t nameTable, entry []byte) ([]*Package, error) {
	first := uint64(binary.LittleEndian.Uint32(entry[8:]))
	count := uint64(binary.LittleEndian.Uint32(entry[12:]))
	if (first+count)*postingSize > uint64(len(t.postings)) {
		return nil, x.damaged(errTable)
	}
	packages := make([]*Package, 0, count)
	for i := first; i < first+count; i++ {
		p, err := x.recordAt(binary.LittleEndian.Uint64(t.postings[i*postingSize:]))
		if err != nil {
			return nil, x.damaged(err)
		}
		packages = append(packages, p)
	}
	return packages, nil
}

func (x *Index) recordAt(at uint64) (*Package, error) {
	if at < headerSize || at > x.records-8 {
		return nil, errTable
	}
	n := uint64(binary.LittleEndian.Uint32(x.data[at:]))
	if n > x.records-at-8 {
		return nil, errTable
	}
	payload := x.data[at+8 : at+8+n]
	if checksum(payload) != binary.LittleEndian.Uint32(x.data[at+4:]) {
		return nil, fmt.Errorf("%w: a record is damaged", ErrUnusable)
	}
	p, err := readRecord(payload)
	if err != nil {
		return nil, err
	}
	p.Suite = x.suite
	return p, nil
}

func (x *Index) damaged(err error) error {
	return fault.New(fault.Failed, "read package index", strings.TrimSpace(x.suite), err)
}
