package hardening

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
)

// Summary is what matters of one layer.
type Summary struct {
	Layer         string    `json:"layer"` // diffID
	SetID         []File    `json:"setID,omitempty"`
	Capabilities  []File    `json:"capabilities,omitempty"`
	WorldWritable []File    `json:"worldWritable,omitempty"`
	Programs      []Program `json:"programs,omitempty"`
	Secrets       []Secret  `json:"secrets,omitempty"`
	Links         []link    `json:"links,omitempty"` // of the root: /bin may be usr/bin
	Skipped       Skipped   `json:"skipped"`

	index index
}

type link struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// weight gives the bytes that the summary takes in memory, about.
func (s *Summary) weight() int {
	const mark, finding = 8, 200
	findings := len(s.SetID) + len(s.Capabilities) + len(s.WorldWritable) + len(s.Programs) + len(s.Secrets) + len(s.Links)
	return mark*(len(s.index[0])+len(s.index[1])+len(s.index[2])) + finding*findings
}

// encode gives a line of JSON, then the lists of the index, each after its length. As JSON
// the index would take longer to read than all else.
func encode(s *Summary) ([]byte, error) {
	out, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	out = append(out, '\n')
	for _, marks := range s.index {
		out = binary.AppendUvarint(out, uint64(len(marks)))
		for _, mark := range marks {
			out = binary.BigEndian.AppendUint64(out, mark)
		}
	}
	return out, nil
}

func decode(data []byte) (*Summary, error) {
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	s := &Summary{}
	if err := json.Unmarshal(line, s); err != nil {
		return nil, err
	}
	const size = 8 // bytes of a mark
	for i := range s.index {
		count, n := binary.Uvarint(rest)
		if n <= 0 || count > uint64(len(rest)-n)/size {
			return nil, errors.New("the index is damaged")
		}
		rest = rest[n:]
		s.index[i] = make([]uint64, count)
		for j := range s.index[i] {
			s.index[i][j] = binary.BigEndian.Uint64(rest[j*size:])
		}
		rest = rest[count*size:]
	}
	return s, nil
}

func compareSecrets(a, b Secret) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Kind, b.Kind))
}
