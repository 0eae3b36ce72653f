package advisory

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// ErrUnusable is in the chain of an Open that met a file which is truncated, damaged or of
// another format version: build it anew.
var ErrUnusable = errors.New("not a usable advisory database")

// Database is a file of Build, mapped read-only. It is safe for concurrent use until Close.
type Database struct {
	path    string
	data    []byte
	records uint64 // where they end
	pool    []byte
	keys    []byte
	names   []byte
	unmap   func() error
}

// Open maps the file. One that is missing is a NotFound fault; one that must be built anew
// has ErrUnusable in its chain.
func Open(path string) (*Database, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "open advisory database", path, err).WithHint("run `plimsoll feed sync` to make it")
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "open advisory database", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.New(fault.Failed, "open advisory database", path, err)
	}
	if info.Size() == 0 || info.Size() > 1<<40 {
		return nil, unusable(path, "its length is not a database's") // and cannot be mapped
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fault.New(fault.Failed, "map advisory database", path, err)
	}
	db, err := fromBytes(data, path)
	if err != nil {
		_ = unix.Munmap(data) // the file's damage is the news
		return nil, err
	}
	db.unmap = sync.OnceValue(func() error { return unix.Munmap(data) })
	return db, nil
}

// fromBytes is Open without a file: nothing needs to be unmapped.
func fromBytes(data []byte, path string) (*Database, error) {
	db := &Database{path: path, data: data, unmap: func() error { return nil }}
	if why := db.layOut(); why != "" {
		return nil, unusable(path, why)
	}
	return db, nil
}

func unusable(path, why string) error {
	return fault.New(fault.Failed, "open advisory database", path, fmt.Errorf("%w: %s", ErrUnusable, why)).
		WithHint("run `plimsoll feed sync` to build it anew")
}

// layOut finds the sections from the footer and gives what is wrong, or "".
func (db *Database) layOut() string {
	size := uint64(len(db.data))
	if size < headerSize+footerSize {
		return "it is too short"
	}
	footer := db.data[size-footerSize:]
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(footer[8*i:]) }
	switch {
	case string(db.data[:len(magicStart)]) != magicStart:
		return "it does not start like one"
	case binary.LittleEndian.Uint64(db.data[8:]) != formatVersion:
		return "it is of another format version"
	case string(footer[footerSize-len(magicEnd):]) != magicEnd:
		return "it does not end like one"
	case binary.LittleEndian.Uint64(footer[footerSize-16:]) != size:
		return "its length is not the one it was written with"
	case binary.LittleEndian.Uint32(footer[36:]) != checksum(footer[:36]):
		return "its footer is damaged"
	}
	sizes := [...]uint64{word(0), word(1), word(2) * keySize, word(3) * nameSize}
	var sections [len(sizes)][]byte
	at := uint64(headerSize)
	for i, n := range sizes {
		if n > size-footerSize-at {
			return "its sections do not fit"
		}
		sections[i] = db.data[at : at+n : at+n]
		at += n
	}
	if at != size-footerSize {
		return "its sections do not fill it"
	}
	db.records = headerSize + sizes[0]
	if binary.LittleEndian.Uint32(footer[32:]) != checksum(db.data[db.records:size-footerSize]) {
		return "its tables are damaged"
	}
	db.pool, db.keys, db.names = sections[1], sections[2], sections[3]
	return ""
}

// Version names what the database says: two that say the same of every package, EPSS aside,
// have the same.
func (db *Database) Version() string {
	return fmt.Sprintf("%d-%08x", formatVersion, checksum(db.data[db.records:len(db.data)-footerSize]))
}

// Close unmaps the file. What it gave stays valid.
func (db *Database) Close() error { return db.unmap() }

// Lookup gives what is said of a package, in its own release of a distribution and in all
// of them; none is no error. An error means that the file is damaged. An entry for each
// vulnerability, by its ID; its claims by rank.
func (db *Database) Lookup(key Key) ([]Entry, error) {
	entries, err := db.lookup(key)
	if family := key.family(); err == nil && family != key {
		var general []Entry
		if general, err = db.lookup(family); len(general) > 0 {
			entries = merge(entries, general)
		}
	}
	if err != nil {
		return nil, db.damaged(err)
	}
	return entries, nil
}

// merge joins the claims of one vulnerability. Records lie in the order of their IDs.
func merge(a, b []Entry) []Entry {
	all := slices.SortedStableFunc(slices.Values(slices.Concat(a, b)), func(a, b Entry) int {
		return int(int64(a.vulnerability) - int64(b.vulnerability))
	})
	out := all[:0]
	for _, e := range all {
		if last := len(out) - 1; last >= 0 && out[last].vulnerability == e.vulnerability {
			out[last].Claims = slices.Concat(out[last].Claims, e.Claims)
			continue
		}
		out = append(out, e)
	}
	return out
}

func (db *Database) lookup(key Key) ([]Entry, error) {
	want := key.Ecosystem + separator + key.Name
	at, err := db.find(db.keys, keySize, want)
	if err != nil || at == len(db.keys)/keySize {
		return nil, err
	}
	if text, err := db.text(db.keys[at*keySize:]); err != nil || string(text) != want {
		return nil, err
	}
	payload, err := db.recordAt(binary.LittleEndian.Uint64(db.keys[at*keySize+8:]))
	if err != nil {
		return nil, err
	}
	d := decoder{text: string(payload)}
	var entries []Entry
	var claims []Claim
	for len(d.text) > 0 && d.err == nil {
		e := Entry{vulnerability: d.number()}
		first := len(claims)
		for range d.count() {
			claims = append(claims, d.claim())
		}
		e.Claims = since(claims, first)
		entries = append(entries, e)
	}
	return entries, d.err
}

// Describe gives the vulnerability that the entry is about, without its Keys.
func (db *Database) Describe(e Entry) (Vulnerability, error) {
	payload, err := db.recordAt(e.vulnerability)
	if err != nil {
		return Vulnerability{}, db.damaged(err)
	}
	d := decoder{text: string(payload)}
	v := d.vulnerability()
	if d.err != nil {
		return Vulnerability{}, db.damaged(d.err)
	}
	return v, nil
}

// Named gives the vulnerabilities of that name: its ID, an alias, or a record that tells of
// several; none is no error.
func (db *Database) Named(name string) ([]Vulnerability, error) {
	at, err := db.find(db.names, nameSize, name)
	if err != nil {
		return nil, db.damaged(err)
	}
	var all []Vulnerability
	for ; at < len(db.names)/nameSize; at++ {
		row := db.names[at*nameSize:]
		text, err := db.text(row)
		if err != nil {
			return nil, db.damaged(err)
		}
		if string(text) != name {
			break
		}
		v, err := db.withKeys(binary.LittleEndian.Uint64(row[8:]))
		if err != nil {
			return nil, db.damaged(err)
		}
		all = append(all, v)
	}
	return all, nil
}

func (db *Database) withKeys(record uint64) (Vulnerability, error) {
	payload, err := db.recordAt(record)
	if err != nil {
		return Vulnerability{}, err
	}
	d := decoder{text: string(payload)}
	v := d.vulnerability()
	for range d.count() {
		key, err := db.key(d.number())
		if err != nil {
			return Vulnerability{}, err
		}
		v.Keys = append(v.Keys, key)
	}
	return v, d.err
}

// Keys gives all packages that something is known of, in order.
func (db *Database) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for i := range uint64(len(db.keys) / keySize) {
			key, err := db.key(i)
			if err != nil || !yield(key) {
				return
			}
		}
	}
}

// Ecosystems gives those that something is known of, in order; releases of a distribution
// are ecosystems of their own ("Debian:13").
func (db *Database) Ecosystems() ([]string, error) {
	var all []string
	for at := 0; at < len(db.keys)/keySize; {
		key, err := db.key(uint64(at))
		if err != nil {
			return nil, db.damaged(err)
		}
		all = append(all, key.Ecosystem)
		next, err := db.find(db.keys, keySize, key.Ecosystem+afterSeparator)
		if err != nil || next <= at {
			return nil, db.damaged(cmp.Or(err, errTable))
		}
		at = next
	}
	return all, nil
}

// afterSeparator is behind all keys of an ecosystem, and before those of the next.
const afterSeparator = "\x01"

func (db *Database) key(i uint64) (Key, error) {
	if i >= uint64(len(db.keys)/keySize) {
		return Key{}, errTable
	}
	text, err := db.text(db.keys[i*keySize:])
	if err != nil {
		return Key{}, err
	}
	ecosystem, name, _ := strings.Cut(string(text), separator)
	return Key{ecosystem, name}, nil
}

var errTable = fmt.Errorf("%w: a table points outside", ErrUnusable)

// find gives the place of the first row in a sorted table whose text is not before the
// wanted one.
func (db *Database) find(table []byte, size int, want string) (int, error) {
	low, high := 0, len(table)/size
	for low < high {
		mid := int(uint(low+high) >> 1)
		text, err := db.text(table[mid*size:])
		if err != nil {
			return 0, err
		}
		if string(text) < want {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

// text gives the text that a table's row names.
func (db *Database) text(row []byte) ([]byte, error) {
	at := uint64(binary.LittleEndian.Uint32(row))
	n := uint64(binary.LittleEndian.Uint32(row[4:]))
	if at+n > uint64(len(db.pool)) {
		return nil, errTable
	}
	return db.pool[at : at+n], nil
}

func (db *Database) recordAt(at uint64) ([]byte, error) {
	if at < headerSize || at+8 > db.records {
		return nil, errTable
	}
	n := uint64(binary.LittleEndian.Uint32(db.data[at:]))
	if n > db.records-at-8 {
		return nil, errTable
	}
	payload := db.data[at+8 : at+8+n]
	if checksum(payload) != binary.LittleEndian.Uint32(db.data[at+4:]) {
		return nil, fmt.Errorf("%w: a record is damaged", ErrUnusable)
	}
	return payload, nil
}

func (db *Database) damaged(err error) error {
	return fault.New(fault.Failed, "read advisory database", db.path, err).WithHint("run `plimsoll feed sync` to build it anew")
}
