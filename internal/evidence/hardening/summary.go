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
		out = append(out, marks...)
	}
	return out, nil
}

func decode(data []byte) (*Summary, error) {
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	s := &Summary{}
	if err := json.Unmarshal(line, s); err != nil {
		return nil, err
	}
	for i := range s.index {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) || length%size != 0 {
			return nil, errors.New("the index is damaged")
		}
		s.index[i], rest = rest[n:n+int(length)], rest[n+int(length):]
	}
	return s, nil
}

func compareSecrets(a, b Secret) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Kind, b.Kind))
}
