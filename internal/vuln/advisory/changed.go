package advisory

import (
	"encoding/binary"
	"strings"
)

// Changed gives the packages of which the two databases say different things, in order: only
// those need to be matched again. What changes by itself every day, EPSS, is no difference:
// read it from the newer database when it is shown.
func Changed(old, new *Database) ([]Key, error) {
	var changed []Key
	a, b := cursor{db: old}, cursor{db: new}
	for {
		ka, moreA, err := a.key()
		if err != nil {
			return nil, old.damaged(err)
		}
		kb, moreB, err := b.key()
		if err != nil {
			return nil, new.damaged(err)
		}
		switch {
		case !moreA && !moreB:
			return changed, nil
		case !moreB || moreA && ka < kb:
			changed = append(changed, split(ka))
			a.at++
		case !moreA || kb < ka:
			changed = append(changed, split(kb))
			b.at++
		default:
			if a.fingerprint() != b.fingerprint() {
				changed = append(changed, split(ka))
			}
			a.at++
			b.at++
		}
	}
}

// cursor is a place in a table of keys.
type cursor struct {
	db *Database
	at int
}

func (c cursor) row() []byte { return c.db.keys[c.at*keySize:] }

func (c cursor) key() (text string, more bool, err error) {
	if c.at >= len(c.db.keys)/keySize {
		return "", false, nil
	}
	raw, err := c.db.text(c.row())
	return string(raw), true, err
}

func (c cursor) fingerprint() uint64 { return binary.LittleEndian.Uint64(c.row()[16:]) }

func split(text string) Key {
	ecosystem, name, _ := strings.Cut(text, separator)
	return Key{ecosystem, name}
}
