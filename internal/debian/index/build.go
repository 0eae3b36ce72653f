package index

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"sort"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// An index file is, in this order and little-endian throughout:
//
//	header    magic, format version
//	records   one per stanza: length (4), CRC-32C of the payload (4), payload (package.go)
//	pool      all names, once each and sorted within their table
//	packages  table: per name, place and length in the pool, first posting, count (4 each)
//	          postings: offsets of records (8 each), in the file's order
//	virtuals  the same for names that Provides fields give
//	footer    the sections' sizes, CRC-32C of all tables, of itself, the whole length
//
// It is written in one pass, so what is known only at the end stands at the end, where a
// truncated file lacks it.
const (
	formatVersion = 1
	magicStart    = "plimidx\n"
	magicEnd      = "xdimilp\n"
	headerSize    = 16
	footerSize    = 6*8 + 4 + 4 + 8 + 8
	entrySize     = 16
	postingSize   = 8
)

// posting joins a name with the record that bears or provides it.
type posting struct {
	name   string
	record uint64
}

// builder is the state of one Build.
type builder struct {
	out       *bufio.Writer
	written   uint64
	crc       hash.Hash32    // of the tables
	mentioned []string       // every name once, cloned, in the order of first mention
	names     map[string]int // their places in mentioned
	packages  []posting
	virtuals  []posting
	record    []byte
}

// Build reads an uncompressed Packages file and writes its index: the same input gives the
// same bytes. A file that is no sound Packages file gives an error that names the line; what
// was written till then is to be thrown away.
func Build(ctx context.Context, packages io.Reader, w io.Writer) error {
	b := &builder{
		out:   bufio.NewWriterSize(w, 1<<16),
		crc:   crc32.New(crc32.MakeTable(crc32.Castagnoli)),
		names: make(map[string]int),
	}
	if err := b.build(ctx, packages); err != nil {
		return fault.New(fault.KindOf(err), "index packages", "", err)
	}
	return nil
}

func (b *builder) build(ctx context.Context, packages io.Reader) error {
	header := append([]byte(magicStart), make([]byte, headerSize-len(magicStart))...)
	binary.LittleEndian.PutUint32(header[8:], formatVersion)
	if err := b.write(header); err != nil {
		return err
	}
	stanzas := newStanzaReader(packages)
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		s, err := stanzas.next()
		if err == io.EOF {
			break
		}
		if err == nil && n == maxStanzas {
			err = fmt.Errorf("more than %d stanzas", maxStanzas)
		}
		if err == nil {
			err = b.add(s)
		}
		if err != nil {
			return err
		}
	}
	return b.finish()
}

// add writes the stanza's record and notes its names.
func (b *builder) add(s *stanza) error {
	p, err := newPackage(s)
	if err != nil {
		return fmt.Errorf("line %d: %w", s.line, err)
	}
	p.Name = b.mention(p.Name)
	p.Mention = b.names[p.Name]
	if err := b.mentionAll(s); err != nil {
		return fmt.Errorf("line %d: package %s: %w", s.line, p.Name, err)
	}
	record := b.written
	b.packages = append(b.packages, posting{p.Name, record})
	provided, err := ParseRelations(p.Provides)
	if err != nil {
		return fmt.Errorf("line %d: package %s: Provides: %w", s.line, p.Name, err)
	}
	for _, g := range provided {
		name := b.mention(g[0].Name)
		last := len(b.virtuals) - 1
		if len(b.virtuals) > 0 && b.virtuals[last].name == name && b.virtuals[last].record == record {
			continue
		}
		b.virtuals = append(b.virtuals, posting{name, record})
	}
	b.record = p.appendRecord(append(b.record[:0], make([]byte, 8)...))
	binary.LittleEndian.PutUint32(b.record, uint32(len(b.record)-8))
	binary.LittleEndian.PutUint32(b.record[4:], checksum(b.record[8:]))
	return b.write(b.record)
}

// mention gives the one copy of the name that is kept, and keeps one when it is new: the
// caller's shares the text of a whole stanza.
func (b *builder) mention(name string) string {
	if n, known := b.names[name]; known {
		return b.mentioned[n]
	}
	name = strings.Clone(name)
	b.names[name] = len(b.mentioned)
	b.mentioned = append(b.mentioned, name)
	return name
}

// mentionAll notes the names of a stanza's relations in the order in which apt's cache
// generator reads the fields (apt-pkg/deb/deblistparser.cc), the source of apt's package
// numbers and so of its last tie-break.
func (b *builder) mentionAll(s *stanza) error {
	for _, name := range [...]string{
		"Pre-Depends", "Depends", "Conflicts", "Breaks", "Recommends", "Suggests", "Replaces",
		"Enhances", "Provides",
	} {
		text := s.get(name)
		for len(text) > 0 {
			var one string
			if one, text = nextName(text); one != "" {
				b.mention(one)
			}
		}
		if len(b.names) > maxMentions {
			return errors.New("too many names")
		}
	}
	return nil
}

// nextName gives the first package name of a relation field and the text after its
// alternative. A name with an architecture qualifier is another name to apt, and skipped.
func nextName(text string) (name, rest string) {
	end := 0
	for end < len(text) && text[end] != ',' && text[end] != '|' {
		end++
	}
	alternative := text[:end]
	if end < len(text) {
		end++
	}
	start := 0
	for start < len(alternative) && (alternative[start] <= ' ') {
		start++
	}
	stop := start
	for stop < len(alternative) && alternative[stop] > ' ' && alternative[stop] != '(' {
		if alternative[stop] == ':' {
			return "", text[end:]
		}
		stop++
	}
	return alternative[start:stop], text[end:]
}

// finish writes the tables and the footer.
func (b *builder) finish() error {
	records := b.written - headerSize
	byName := func(p []posting) func(i, j int) bool { return func(i, j int) bool { return p[i].name < p[j].name } }
	sort.SliceStable(b.packages, byName(b.packages))
	sort.SliceStable(b.virtuals, byName(b.virtuals))
	var pool, packages, virtuals []byte
	pool, packages = table(pool, b.packages)
	pool, virtuals = table(pool, b.virtuals)
	footer := make([]byte, 0, footerSize)
	for _, n := range []int{
		int(records), len(pool), entries(b.packages), len(b.packages), entries(b.virtuals), len(b.virtuals),
	} {
		footer = binary.LittleEndian.AppendUint64(footer, uint64(n))
	}
	for _, section := range [][]byte{pool, packages, virtuals} {
		b.crc.Write(section) // a hash never gives an error
		if err := b.write(section); err != nil {
			return err
		}
	}
	footer = binary.LittleEndian.AppendUint32(footer, b.crc.Sum32())
	footer = binary.LittleEndian.AppendUint32(footer, checksum(footer))
	footer = binary.LittleEndian.AppendUint64(footer, b.written+footerSize)
	if err := b.write(append(footer, magicEnd...)); err != nil {
		return err
	}
	return b.out.Flush()
}

// table lays sorted postings out as entries and postings, their names added to the pool.
func table(pool []byte, sorted []posting) (_, section []byte) {
	var postings []byte
	for i := 0; i < len(sorted); {
		name, first := sorted[i].name, i
		for ; i < len(sorted) && sorted[i].name == name; i++ {
			postings = binary.LittleEndian.AppendUint64(postings, sorted[i].record)
		}
		for _, n := range []int{len(pool), len(name), first, i - first} {
			section = binary.LittleEndian.AppendUint32(section, uint32(n))
		}
		pool = append(pool, name...)
	}
	return pool, append(section, postings...)
}

// entries counts the different names.
func entries(sorted []posting) int {
	n := 0
	for i := range sorted {
		if i == 0 || sorted[i].name != sorted[i-1].name {
			n++
		}
	}
	return n
}

func (b *builder) write(p []byte) error {
	n, err := b.out.Write(p)
	b.written += uint64(n)
	return err
}

func checksum(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }
