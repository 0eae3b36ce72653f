package inventory

import (
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"math"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
)

// key identifies a row by what it holds.
type key [sha256.Size]byte

// writeText hashes texts so that no two lists of them look alike.
func writeText(h hash.Hash, texts ...string) {
	var length [4]byte
	for _, text := range texts {
		binary.BigEndian.PutUint32(length[:], uint32(len(text)))
		h.Write(length[:])
		io.WriteString(h, text)
	}
}

func keyOf(texts ...string) key {
	h := sha256.New()
	writeText(h, texts...)
	return key(h.Sum(nil))
}

// part is a package in a layer: what is the same wherever it is found, and where it was.
type part struct {
	key   key
	pkg   artifact.Package
	place place
}

// place is where in a layer a package is told of, and who knows of it there.
type place struct {
	Paths   []string
	FoundBy []string
}

// newPart takes of a package what the index keeps.
func newPart(p *artifact.Package) *part {
	kept := artifact.Package{
		Type: clean(p.Type), Namespace: clean(p.Namespace), Name: clean(p.Name), Version: clean(p.Version), Arch: clean(p.Arch),
		Distro: clean(p.Distro), Source: clean(p.Source), SourceVersion: clean(p.SourceVersion), Owner: clean(p.Owner), Licenses: cleanAll(p.Licenses, maxLicences),
	}
	return &part{
		key: keyOf(append([]string{
			kept.Type, kept.Namespace, kept.Name, kept.Version, kept.Arch, kept.Distro, kept.Source, kept.SourceVersion, kept.Owner,
		}, kept.Licenses...)...),
		pkg:   kept,
		place: place{cleanAll(p.Paths, maxPaths), cleanAll(p.FoundBy, maxPaths)},
	}
}

func cleanAll(texts []string, most int) []string {
	kept := make([]string, 0, min(len(texts), most))
	for _, text := range texts[:min(len(texts), most)] {
		kept = append(kept, clean(text))
	}
	return kept
}

// layerSet is what one layer brings, each package once, in the order of their keys.
type layerSet struct {
	key   key
	parts []*part
}

// newLayerSet puts the packages of a layer in order and joins those that are the same.
func newLayerSet(packages []*artifact.Package) layerSet {
	parts := make([]*part, len(packages))
	for i, p := range packages {
		parts[i] = newPart(p)
	}
	slices.SortStableFunc(parts, func(a, b *part) int { return bytes.Compare(a.key[:], b.key[:]) })
	joined := parts[:0]
	for _, p := range parts {
		if n := len(joined); n > 0 && joined[n-1].key == p.key {
			joined[n-1].place = place{
				merge(joined[n-1].place.Paths, p.place.Paths), merge(joined[n-1].place.FoundBy, p.place.FoundBy),
			}
			continue
		}
		joined = append(joined, p)
	}
	h := sha256.New()
	for _, p := range joined {
		h.Write(p.key[:])
		writeText(h, strings.Join(p.place.Paths, "\x00"), strings.Join(p.place.FoundBy, "\x00"))
	}
	return layerSet{key(h.Sum(nil)), joined}
}

func merge(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(len(all), maxPaths)]
}

// positioned is a set at a place in a stack.
type positioned struct {
	position int // of the layer, from the bottom; one beyond the last for no layer at all
	set      int64
}

// layerSets remembers the sets of layers for a while: most images of a batch stand on the
// same base.
type layerSets map[string]remembered

type remembered struct {
	packages []*artifact.Package
	set      layerSet
}

// of gives an image's sets by position. Packages of no layer stand beyond the last.
func (l layerSets) of(c *artifact.Contents) map[int]layerSet {
	at := map[string]int{}
	for position, layer := range c.Layers {
		if _, twice := at[layer]; !twice { // as for an empty layer: the lowest brought it
			at[layer] = position
		}
	}
	packages := map[int][]*artifact.Package{}
	for i := range c.Packages {
		position, known := at[c.Packages[i].Layer]
		if !known {
			position = len(c.Layers)
		}
		packages[position] = append(packages[position], &c.Packages[i])
	}
	sets := map[int]layerSet{}
	for position, list := range packages {
		// What is seen of a layer depends on the layers above it: its name alone says little.
		r, known := l[list[0].Layer]
		if !known || !slices.EqualFunc(r.packages, list, samePackage) {
			r = remembered{list, newLayerSet(list)}
			l[list[0].Layer] = r
		}
		sets[position] = r.set
	}
	return sets
}

func samePackage(a, b *artifact.Package) bool {
	return a.Type == b.Type && a.Namespace == b.Namespace && a.Name == b.Name && a.Version == b.Version && a.Arch == b.Arch &&
		a.Distro == b.Distro && a.Source == b.Source && a.SourceVersion == b.SourceVersion && a.Owner == b.Owner &&
		slices.Equal(a.Licenses, b.Licenses) && slices.Equal(a.Paths, b.Paths) && slices.Equal(a.FoundBy, b.FoundBy)
}

// encodeStack gives the row of a stack: how many layers are the base's, then position and
// set number of each, as varints.
func encodeStack(baseLayers int, sets []positioned) []byte {
	slices.SortFunc(sets, func(a, b positioned) int { return cmp.Compare(a.position, b.position) })
	row := binary.AppendUvarint(nil, uint64(baseLayers))
	for _, s := range sets {
		row = binary.AppendUvarint(row, uint64(s.position))
		row = binary.AppendUvarint(row, uint64(s.set))
	}
	return row
}

// decodeStack appends the sets of a row.
func decodeStack(sets []positioned, row []byte) (baseLayers int, all []positioned) {
	r := reader{row}
	baseLayers = r.number()
	for !r.done() {
		position := r.number()
		sets = append(sets, positioned{position, int64(r.number())})
	}
	return baseLayers, sets
}

// encodeNumbers gives package numbers as varints of their differences; they must ascend.
func encodeNumbers(numbers []int64) []byte {
	var row []byte
	last := int64(0)
	for _, n := range numbers {
		row = binary.AppendUvarint(row, uint64(n-last))
		last = n
	}
	return row
}

// decodeNumbers appends the numbers of a row.
func decodeNumbers(numbers []int32, row []byte) []int32 {
	last := int32(0)
	for r := (reader{row}); !r.done(); {
		last += int32(r.number())
		numbers = append(numbers, last)
	}
	return numbers
}

// encodePlaces packs the places of a set in the order of its packages: of each the number
// of paths, the paths, the number of those who found it, and them; every text after its
// length.
func encodePlaces(places []place) ([]byte, error) {
	var plain []byte
	for _, p := range places {
		for _, texts := range [][]string{p.Paths, p.FoundBy} {
			plain = binary.AppendUvarint(plain, uint64(len(texts)))
			for _, text := range texts {
				plain = append(binary.AppendUvarint(plain, uint64(len(text))), text...)
			}
		}
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// decodePlaces gives the places whose index is wanted.
func decodePlaces(packed []byte, wanted func(int) bool) (map[int]place, error) {
	plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	if err != nil {
		return nil, err
	}
	r := reader{plain}
	texts := func(kept bool) []string {
		var all []string
		for n := r.number(); n > 0 && !r.done(); n-- {
			if text := r.bytes(r.number()); kept {
				all = append(all, string(text))
			}
		}
		return all
	}
	places := map[int]place{}
	for i := 0; !r.done(); i++ {
		kept := wanted(i)
		if p := (place{texts(kept), texts(kept)}); kept {
			places[i] = p
		}
	}
	return places, nil
}

// encodeEvidence gives what is not the same for many images: for each piece the place of
// its claim, its digest, and when it was verified.
func encodeEvidence(evidence []Evidence, claims []claim) []byte {
	row := []byte{}
	for _, e := range evidence {
		digest, err := digestBytes(e.Digest)
		if err != nil {
			digest = nil
		}
		row = binary.AppendUvarint(row, uint64(slices.Index(claims, claimOf(e))))
		row = append(binary.AppendUvarint(row, uint64(len(digest))), digest...)
		row = binary.AppendUvarint(row, uint64(seconds(e.VerifiedAt)))
	}
	return row
}

func decodeEvidence(row []byte, claims []claim) []Evidence {
	var all []Evidence
	for r := (reader{row}); !r.done(); {
		var e Evidence
		if at := r.number(); at < len(claims) {
			c := claims[at]
			e = Evidence{PredicateType: c.PredicateType, Stored: c.Stored, KeyID: c.KeyID, Identity: c.Identity}
		}
		e.Digest = digestText(r.bytes(r.number()))
		e.VerifiedAt = moment(int64(r.number()))
		all = append(all, e)
	}
	return all
}

// reader reads what the encoders wrote; of bytes that none of them wrote it gives numbers
// and parts of no meaning, but it ends.
type reader struct{ rest []byte }

func (r *reader) done() bool { return len(r.rest) == 0 }

// number gives the next varint, never less than 0.
func (r *reader) number() int {
	if len(r.rest) > 0 && r.rest[0] < 0x80 { // as most are
		n := r.rest[0]
		r.rest = r.rest[1:]
		return int(n)
	}
	n, width := binary.Uvarint(r.rest)
	if width <= 0 || n > math.MaxInt64 {
		r.rest = nil
		return 0
	}
	r.rest = r.rest[width:]
	return int(n)
}

// bytes gives the next n bytes, or as many as there are.
func (r *reader) bytes(n int) []byte {
	n = min(n, len(r.rest))
	part := r.rest[:n]
	r.rest = r.rest[n:]
	return part
}
