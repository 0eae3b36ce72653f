package hardening

import "bytes"

// set has a bit for each of the searches.
type set uint64

func (s set) has(i int) bool { return s&(1<<i) != 0 }

// finder finds which of many words stand in a text, in one pass: an expression for each
// kind of secret would read every file thirty times.
type finder struct {
	begins [1 << 14]bool // by the hash of a word's first three bytes
	words  map[[3]byte][]word
}

type word struct {
	text     string
	searches set
}

// needles are those of all searches.
var needles = newFinder(searches[:])

func newFinder(all []search) *finder {
	f := &finder{words: map[[3]byte][]word{}}
	for i, s := range all {
		for _, text := range s.needles { // of three bytes at least
			begin := [3]byte([]byte(text))
			f.begins[hash(begin[0], begin[1], begin[2])] = true
			f.words[begin] = append(f.words[begin], word{text, 1 << i})
		}
	}
	return f
}

func hash(a, b, c byte) uint32 {
	return (uint32(a) | uint32(b)<<8 | uint32(c)<<16) * 0x9e3779b1 >> 18
}

// in gives the searches that have a needle in the text.
func (f *finder) in(text []byte) set {
	var found set
	for i := 0; i+2 < len(text); i++ {
		if !f.begins[hash(text[i], text[i+1], text[i+2])] {
			continue
		}
		for _, w := range f.words[[3]byte(text[i:])] {
			if bytes.HasPrefix(text[i:], []byte(w.text)) {
				found |= w.searches
			}
		}
	}
	return found
}
