package facts

import (
	"crypto/sha256"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/recent"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/purl"
)

// Bills remembers which packages bills of materials name, by the digests of their texts: of those
// that were read, and of those that were made here. It is safe for concurrent use; nil remembers
// nothing.
type Bills struct {
	lists *recent.Values[[]artifact.Package] // by a digest of their URLs, or of the one bill
	named *recent.Values[string]             // the key of its list, by form and digest of a bill
}

// What is remembered, in bytes as they are guessed.
const (
	keepLists   = 24 << 20
	keepNamed   = 4 << 20
	packageSize = 512
	namedSize   = 256
)

// NewBills gives one that remembers nothing yet.
func NewBills() *Bills {
	return &Bills{recent.New[[]artifact.Package](keepLists), recent.New[string](keepNamed)}
}

// Made says that the bills among the evidence were encoded of such contents. They need not be read:
// what they name are the package URLs of those, which all images that hold the same have alike.
func (b *Bills) Made(c artifact.Contents, all ...artifact.Evidence) {
	sum := sha256.New()
	urls := make([]string, len(c.Packages))
	for i, p := range c.Packages {
		urls[i] = p.PURL()
		sum.Write(append([]byte(urls[i]), 0))
	}
	key := string(sum.Sum(nil))
	if _, ok := b.lists.Get(key); !ok {
		var list []artifact.Package
		for _, url := range urls {
			if p, ok := purl.Parse(url); ok {
				list = append(list, p)
			}
		}
		b.keep(key, bill.Sorted(list))
	}
	for _, e := range all {
		for _, f := range formats() {
			if f.is(e.PredicateType) {
				b.named.Put(f.key(e.Predicate), key, namedSize)
			}
		}
	}
}

// parse gives the packages that a bill names: of one that was made here no more than their URLs say.
// They are not to be changed.
func (b *Bills) parse(f format, text []byte) ([]artifact.Package, error) {
	if b == nil {
		return f.parse(text)
	}
	own := f.key(text)
	if key, ok := b.named.Get(own); ok {
		if list, ok := b.lists.Get(key); ok {
			return list, nil
		}
	}
	list, err := f.parse(text)
	if err == nil {
		b.keep(own, list)
		b.named.Put(own, own, namedSize)
	}
	return list, err
}

func (b *Bills) keep(key string, list []artifact.Package) {
	b.lists.Put(key, list, int64(len(list)+1)*packageSize)
}

// key tells bills apart: the same text in another form is another bill.
func (f format) key(text []byte) string {
	sum := sha256.Sum256(text)
	return f.name + string(sum[:])
}
