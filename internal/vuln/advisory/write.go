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
	formatVersion = 2
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
	pool    []byte
	keys    []byte
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
	b.group(sets)
	where := b.keysOf(len(sets))
	b.stats.Packages = len(keys)
	header := append([]byte(magicStart), make([]byte, headerSize-len(magicStart))...)
	binary.LittleEndian.PutUint32(header[8:], formatVersion)
	if err := w.write(header); err != nil {
		return err
	}
	told, err := w.vulnerabilities(sets, b.join(sets, known), where)
	if err != nil {
		return err
	}
	for _, t := range told {
		if t.record != 0 {
			b.stats.Vulnerabilities++
		}
	}
	if err := w.packages(keys, b.claims, told); err != nil {
		return err
	}
	return w.finish()
}

// order gives the keys sorted, and has the claims speak of their places in that order.
func (b *builder) order() []Key {
	keys := make([]Key, 0, len(b.keys))
	for key := range b.keys {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Name, b.Name)) // as with the NUL between them
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

// group has claims and facts speak of the sets' places, and sorts the claims.
func (b *builder) group(sets []set) {
	place := make([]int32, len(b.names.text)) // by root
	for i, s := range sets {
		place[s.root] = int32(i)
	}
	for i := range b.claims {
		b.claims[i].node = place[b.names.root(b.claims[i].node)]
	}
	for i := range b.facts {
		b.facts[i].node = place[b.names.root(b.facts[i].node)]
	}
	slices.SortFunc(b.claims, func(x, y claimOf) int {
		return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(x.node, y.node), bytes.Compare(x.payload, y.payload)) // which start with the rank
	})
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

// join puts together what all records say of each vulnerability.
func (b *builder) join(sets []set, known Exploitation) []Vulnerability {
	best := make([]fact, len(sets))
	for i := range best {
		best[i].rank = math.MaxInt
	}
	for _, f := range b.facts {
		to := &best[f.node]
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

// packages writes a record for each key.
func (w *writer) packages(keys []Key, claims []claimOf, told []described) error {
	for _, key := range keys {
		n := 1
		for n < len(claims) && claims[n].key == claims[0].key {
			n++
		}
		payload, print := packageRecord(claims[:n], told)
		claims = claims[n:]
		w.keys = w.appendPlace(w.keys, key.Ecosystem+separator+key.Name, w.written)
		w.keys = binary.LittleEndian.AppendUint64(w.keys, print)
		if err := w.record(payload); err != nil {
			return err
		}
	}
	return nil
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

// appendPlace puts the text into the pool and adds a table's row for it.
func (w *writer) appendPlace(table []byte, text string, record uint64) []byte {
	table = binary.LittleEndian.AppendUint32(table, uint32(len(w.pool)))
	table = binary.LittleEndian.AppendUint32(table, uint32(len(text)))
	w.pool = append(w.pool, text...)
	return binary.LittleEndian.AppendUint64(table, record)
}

// finish writes the tables and the footer.
func (w *writer) finish() error {
	slices.SortFunc(w.names, func(x, y nameAt) int { return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.record, y.record)) })
	var names []byte
	for _, n := range w.names {
		names = w.appendPlace(names, n.name, n.record)
	}
	var footer []byte
	for _, n := range []uint64{w.written - headerSize, uint64(len(w.pool)), uint64(len(w.keys) / keySize), uint64(len(w.names))} {
		footer = binary.LittleEndian.AppendUint64(footer, n)
	}
	for _, section := range [][]byte{w.pool, w.keys, names} {
		w.crc.Write(section) // a hash never gives an error
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
