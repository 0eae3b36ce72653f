package advisory

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// append adds the claim's bytes. Their order is the schema of the file: a change of it is a
// change of formatVersion.
func (c *Claim) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(c.Rank))
	for _, text := range []string{c.Record, c.Feed, c.Urgency, c.State} {
		b = appendText(b, text)
	}
	b = appendMoment(b, c.Published)
	b = binary.AppendUvarint(b, uint64(len(c.Ranges)))
	for _, r := range c.Ranges {
		b = appendText(b, r.Scheme)
		b = binary.AppendUvarint(b, uint64(len(r.Events)))
		for _, event := range r.Events {
			b = append(b, byte(event.Kind))
			b = appendText(b, event.Version)
		}
		b = appendTexts(b, r.Limits)
	}
	return appendTexts(b, c.Versions)
}

func (d *decoder) claim() Claim {
	c := Claim{Rank: int(d.number()), Record: d.string(), Feed: d.string(), Urgency: d.string(), State: d.string(), Published: d.moment()}
	first := len(d.ranges)
	for range d.count() {
		r := Range{Scheme: d.string()}
		first := len(d.events)
		for range d.count() {
			d.events = append(d.events, Event{EventKind(d.byte()), d.string()})
		}
		r.Events = since(d.events, first)
		r.Limits = d.strings()
		d.ranges = append(d.ranges, r)
	}
	c.Ranges = since(d.ranges, first)
	c.Versions = d.strings()
	return c
}

// appendVulnerability adds all but EPSS and Keys.
func appendVulnerability(b []byte, v *Vulnerability) []byte {
	b = appendText(b, v.ID)
	b = appendTexts(b, v.Aliases)
	b = appendText(b, v.Summary)
	b = appendText(b, string(v.Severity))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Score))
	b = appendText(b, v.Vector)
	if v.KnownExploited {
		return append(b, 1)
	}
	return append(b, 0)
}

func (d *decoder) vulnerability() Vulnerability {
	v := Vulnerability{ID: d.string(), Aliases: d.strings(), Summary: d.string()}
	v.Severity = artifact.Severity(d.string())
	v.Score = d.float()
	v.Vector = d.string()
	v.KnownExploited = d.byte() == 1
	v.EPSS = d.float()
	return v
}

// appendMoment adds seconds since 1970; 0 for a time that is not known.
func appendMoment(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, uint64(max(0, t.Unix())))
}

func (d *decoder) moment() time.Time {
	seconds := d.number()
	if seconds == 0 || seconds > math.MaxInt64 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, text := range texts {
		b = appendText(b, text)
	}
	return b
}

var errShort = fmt.Errorf("%w: a record ends too early", ErrUnusable)

// decoder reads a record. It notes the first error and gives zero values from then on. The
// strings it gives share one copy of the record, and the slices a few arrays: a package has
// hundreds of claims, and most hold nothing that a match keeps.
type decoder struct {
	text   string
	err    error
	ranges []Range
	events []Event
	texts  []string
}

// since gives what was appended after the first; nil when that is nothing.
func since[T any](all []T, first int) []T {
	if len(all) == first {
		return nil
	}
	return all[first:len(all):len(all)]
}

func (d *decoder) number() uint64 {
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		c := d.byte()
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
	d.err = errShort
	return 0
}

func (d *decoder) byte() byte {
	if len(d.text) == 0 {
		d.err = errShort
		return 0
	}
	c := d.text[0]
	d.text = d.text[1:]
	return c
}

func (d *decoder) string() string {
	n := d.number()
	if n > uint64(len(d.text)) {
		d.err, d.text = errShort, ""
		return ""
	}
	s := d.text[:n]
	d.text = d.text[n:]
	return s
}

func (d *decoder) float() float64 {
	if len(d.text) < 8 {
		d.err, d.text = errShort, ""
		return 0
	}
	bits := binary.LittleEndian.Uint64([]byte(d.text[:8]))
	d.text = d.text[8:]
	return math.Float64frombits(bits)
}

// count reads how many things follow; each takes a byte at least.
func (d *decoder) count() int {
	n := d.number()
	if n > uint64(len(d.text)) {
		d.err, d.text = errShort, ""
		return 0
	}
	return int(n)
}

func (d *decoder) strings() []string {
	first := len(d.texts)
	for range d.count() {
		d.texts = append(d.texts, d.string())
	}
	return since(d.texts, first)
}

func checksum(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }
