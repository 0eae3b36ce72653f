package advisory

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"slices"
)

// A database file is, in this order and little-endian throughout:
//
//	header           magic, format version, 4 bytes of zero
//	vulnerabilities  each: length (4), CRC-32C of the payload (4), payload (record.go)
//	packages         the same
//	pool             all keys ("ecosystem", NUL, "name") and names, sorted within their table
//	keys             per key: place and length in the pool (4 each), its package's record (8),
//	                 its fingerprint (8)
//	names            per name and vulnerability: place and length in the pool (4 each),
//	                 its record (8)
//	footer           the sections' sizes, CRC-32C of all tables, of itself, the whole length
//
// It is written in one pass, so what is known only at the end stands at the end, where a
// truncated file lacks it.
const (
	formatVersion = 1
	magicStart    = "plimadv\n"
	magicEnd      = "vdamilp\n"
	headerSize    = 16
	footerSize    = 4*8 + 4 + 4 + 8 + 8
	keySize       = 24
	nameSize      = 16
	separator     = "\x00"
)

// writer is the state of one file.
type writer struct {
	out     io.Writer
	written uint64
	crc     hash.Hash32 // of the tables
	names   []nameAt
}

// nameAt is a name and the record of a vulnerability that it is for.
type nameAt struct {
	name   string
	record uint64
}

// described is a vulnerability on its way into the file.
type described struct {
	record uint64
	facts  []byte // what a fingerprint covers
}

func (b *builder) write(out io.Writer, known Exploitation) error {
	w := &writer{out: out, crc: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	keys := b.order()
	sets := b.names.sets()
	group := make([]int32, len(b.names.text)) // a set's place, by its root
	for i, s := range sets {
		group[s.root] = int32(i)
	}
	for i := range b.claims {
		b.claims[i].node = group[b.names.root(b.claims[i].node)]
	}
	slices.SortFunc(b.claims, func(x, y claimOf) int {
		return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(x.node, y.node), cmp.Compare(x.order, y.order), bytes.Compare(x.payload, y.payload))
	})
	header := append([]byte(magicStart), make([]byte, headerSize-len(magicStart))...)
	binary.LittleEndian.PutUint32(header[8:], formatVersion)
	if err := w.write(header); err != nil {
		return err
	}
	told, err := w.vulnerabilities(sets, b.vulnerabilitiesOf(sets, group, known), b.keysOf(len(sets)))
	if err != nil {
		return err
	}
	var pool, keyTable, nameTable []byte
	for i, claims := 0, b.claims; len(claims) > 0; i++ {
		n := 1
		for n < len(claims) && claims[n].key == claims[0].key {
			n++
		}
		payload, print := packageRecord(claims[:n], told)
		at := len(pool)
		pool = append(append(append(pool, keys[i].Ecosystem...), separator...), keys[i].Name...)
		keyTable = appendPlace(keyTable, at, len(pool)-at, w.written)
		keyTable = binary.LittleEndian.AppendUint64(keyTable, print)
		if err := w.record(payload); err != nil {
			return err
		}
		claims = claims[n:]
	}
	slices.SortFunc(w.names, func(x, y nameAt) int { return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.record, y.record)) })
	for _, n := range w.names {
		nameTable = appendPlace(nameTable, len(pool), len(n.name), n.record)
		pool = append(pool, n.name...)
	}
	b.stats.Packages = len(keys)
	return w.finish(pool, keyTable, nameTable)
}

// order gives the keys sorted, and has the claims speak of their places in that order.
func (b *builder) order() []Key {
	keys := make([]Key, 0, len(b.keys))
	for key := range b.keys {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Ecosystem+separator, b.Ecosystem+separator), cmp.Compare(a.Name, b.Name))
	})
	place := make([]int32, len(keys))
	for i, key := range keys {
		place[b.keys[key]] = int32(i)
	}
	for i := range b.claims {
		b.claims[i].key = place[b.claims[i].key]
	}
	return keys
}

// keysOf gives the places of the keys of every vulnerability, sorted.
func (b *builder) keysOf(vulnerabilities int) [][]int32 {
	keys := make([][]int32, vulnerabilities)
	for _, c := range b.claims { // sorted by key
		if of := keys[c.node]; len(of) == 0 || of[len(of)-1] != c.key {
			keys[c.node] = append(of, c.key)
		}
	}
	return keys
}

// vulnerabilitiesOf puts together what all records say of each.
func (b *builder) vulnerabilitiesOf(sets []set, group []int32, known Exploitation) []Vulnerability {
	best := make([]fact, len(sets))
	for i := range best {
		best[i].rank = math.MaxInt
	}
	for _, f := range b.facts {
		to := &best[group[b.names.root(f.node)]]
		if f.rating.above(to.rating) {
			to.rating = f.rating
		}
		if f.summary != "" && (f.rank < to.rank || f.rank == to.rank && f.summary < to.summary) {
			to.summary, to.rank = f.summary, f.rank
		}
	}
	out := make([]Vulnerability, len(sets))
	for i, s := range sets {
		v := Vulnerability{
			ID: s.names[0], Aliases: s.aliases(), Summary: best[i].summary,
			Severity: best[i].rating.severity(), Score: best[i].rating.score, Vector: best[i].rating.vector,
		}
		for _, name := range s.names {
			v.KnownExploited = v.KnownExploited || known.Known[name]
			v.EPSS = max(v.EPSS, known.EPSS[name])
		}
		out[i] = v
	}
	b.stats.Vulnerabilities = 0
	for _, of := range b.keysOf(len(sets)) {
		if len(of) > 0 {
			b.stats.Vulnerabilities++
		}
	}
	return out
}

// vulnerabilities writes those that are in some package.
func (w *writer) vulnerabilities(sets []set, all []Vulnerability, keys [][]int32) ([]described, error) {
	told := make([]described, len(all))
	for i := range all {
		v := &all[i]
		if len(keys[i]) == 0 {
			continue
		}
		facts := appendVulnerability(nil, v)
		told[i] = described{w.written, facts}
		payload := binary.LittleEndian.AppendUint64(slices.Clone(facts), math.Float64bits(v.EPSS))
		payload = binary.AppendUvarint(payload, uint64(len(keys[i])))
		for _, key := range keys[i] {
			payload = binary.AppendUvarint(payload, uint64(key))
		}
		for _, name := range slices.Concat(sets[i].names, sets[i].bundles) {
			w.names = append(w.names, nameAt{name, w.written})
		}
		if err := w.record(payload); err != nil {
			return nil, err
		}
	}
	return told, nil
}

// packageRecord gives the record of one key and the fingerprint of what it says.
func packageRecord(claims []claimOf, told []described) (payload []byte, print uint64) {
	sum := sha256.New()
	for len(claims) > 0 {
		n := 1
		for n < len(claims) && claims[n].node == claims[0].node {
			n++
		}
		v := told[claims[0].node]
		payload = binary.AppendUvarint(payload, v.record)
		payload = binary.AppendUvarint(payload, uint64(n))
		sum.Write(appendText(nil, string(v.facts))) // a hash never gives an error
		for _, c := range claims[:n] {
			payload = append(payload, c.payload...)
			sum.Write(appendText(nil, string(c.payload)))
		}
		claims = claims[n:]
	}
	return payload, binary.LittleEndian.Uint64(sum.Sum(nil))
}

func appendPlace(table []byte, at, length int, record uint64) []byte {
	table = binary.LittleEndian.AppendUint32(table, uint32(at))
	table = binary.LittleEndian.AppendUint32(table, uint32(length))
	return binary.LittleEndian.AppendUint64(table, record)
}

// finish writes the tables and the footer.
func (w *writer) finish(pool, keys, names []byte) error {
	records := w.written - headerSize
	var footer []byte
	for _, n := range []uint64{records, uint64(len(pool)), uint64(len(keys) / keySize), uint64(len(names) / nameSize)} {
		footer = binary.LittleEndian.AppendUint64(footer, n)
	}
	for _, section := range [][]byte{pool, keys, names} {
		w.crc.Write(section)
		if err := w.write(section); err != nil {
			return err
		}
	}
	footer = binary.LittleEndian.AppendUint32(footer, w.crc.Sum32())
	footer = binary.LittleEndian.AppendUint32(footer, checksum(footer))
	footer = binary.LittleEndian.AppendUint64(footer, w.written+footerSize)
	return w.write(append(footer, magicEnd...))
}

func (w *writer) record(payload []byte) error {
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	if err := w.write(binary.LittleEndian.AppendUint32(head, checksum(payload))); err != nil {
		return err
	}
	return w.write(payload)
}

func (w *writer) write(p []byte) error {
	n, err := w.out.Write(p)
	w.written += uint64(n)
	return err
}
