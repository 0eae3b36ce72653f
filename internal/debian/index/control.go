package index

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Limits on what a Packages file may hold. The largest stanza of Debian's main is 76 KiB,
// the largest section has 70 thousand stanzas; a file beyond these is not an archive's.
const (
	maxLine     = 1 << 20
	maxStanza   = 4 << 20
	maxFields   = 256
	maxStanzas  = 1 << 20
	maxMentions = 1 << 24 // names in relations of one file
)

// field is one "Name: value" of a stanza. A folded value keeps its newlines.
type field struct {
	name, value []byte
}

// stanza is one paragraph of a control file (deb822, Debian Policy 5.1). Its bytes are
// the reader's and hold only until the next one is read.
type stanza struct {
	line   int // of its first field, from 1
	fields []field
}

func (s *stanza) get(name string) []byte {
	for i := range s.fields {
		if len(s.fields[i].name) == len(name) && bytes.EqualFold(s.fields[i].name, []byte(name)) {
			return s.fields[i].value
		}
	}
	return nil
}

// stanzaReader takes a control file and gives its stanzas one by one, in memory bounded
// by the largest of them.
type stanzaReader struct {
	in   *bufio.Reader
	line int
	buf  []byte // the current stanza's text
	cuts []cut
	st   stanza
}

// cut is a field as offsets in buf, which moves while it grows.
type cut struct{ name, colon, end int }

func newStanzaReader(r io.Reader) *stanzaReader {
	return &stanzaReader{in: bufio.NewReaderSize(r, 1<<16)}
}

// next gives the next stanza, or io.EOF after the last.
func (r *stanzaReader) next() (*stanza, error) {
	r.buf, r.cuts = r.buf[:0], r.cuts[:0]
	r.st.line = 0
	for {
		line, err := r.readLine()
		if err != nil && err != io.EOF {
			return nil, err
		}
		blank := len(bytes.TrimRight(line, " \t")) == 0
		if !blank {
			if err := r.add(line); err != nil {
				return nil, fmt.Errorf("line %d: %w", r.line, err)
			}
		}
		if len(r.cuts) > 0 && (blank || err == io.EOF) {
			return r.finish()
		}
		if err == io.EOF {
			return nil, io.EOF
		}
	}
}

// readLine gives the next line without its end; io.EOF may come with a last line.
func (r *stanzaReader) readLine() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := append([]byte(nil), line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.in.ReadSlice('\n')
			if long = append(long, line...); len(long) > maxLine {
				return nil, fmt.Errorf("line %d is longer than %d bytes", r.line+1, maxLine)
			}
		}
		line = long
	}
	r.line++
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), err
}

func (r *stanzaReader) add(line []byte) error {
	if len(r.buf)+len(line) > maxStanza {
		return fmt.Errorf("the stanza is longer than %d bytes", maxStanza)
	}
	if bytes.IndexByte(line, 0) >= 0 {
		return errors.New("a NUL byte")
	}
	if line[0] == ' ' || line[0] == '\t' {
		if len(r.cuts) == 0 {
			return errors.New("a continuation without a field")
		}
		r.buf = append(append(r.buf, '\n'), line...)
		r.cuts[len(r.cuts)-1].end = len(r.buf)
		return nil
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || bytes.ContainsAny(line[:colon], " \t") {
		return fmt.Errorf("%.40q is no field", line)
	}
	if len(r.cuts) == maxFields {
		return fmt.Errorf("more than %d fields", maxFields)
	}
	if len(r.cuts) == 0 {
		r.st.line = r.line
	}
	start := len(r.buf)
	r.buf = append(r.buf, line...)
	r.cuts = append(r.cuts, cut{start, start + colon, len(r.buf)})
	return nil
}

func (r *stanzaReader) finish() (*stanza, error) {
	r.st.fields = r.st.fields[:0]
	for _, c := range r.cuts {
		name := r.buf[c.name:c.colon]
		if r.st.get(string(name)) != nil {
			return nil, fmt.Errorf("line %d: the stanza says %s twice", r.st.line, name)
		}
		value := bytes.TrimSpace(r.buf[c.colon+1 : c.end])
		if value == nil {
			value = []byte{}
		}
		r.st.fields = append(r.st.fields, field{name, value})
	}
	return &r.st, nil
}
