package index

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
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
	name, value string
}

// stanza is one paragraph of a control file (deb822, Debian Policy 5.1). Its strings share
// one copy of the paragraph's text; clone what is to be kept.
type stanza struct {
	line   int // of its first field, from 1
	fields []field
}

// get gives the field's value, or "" when there is none or it is empty.
func (s *stanza) get(name string) string {
	value, _ := s.find(name)
	return value
}

func (s *stanza) find(name string) (value string, found bool) {
	for i := range s.fields {
		f := &s.fields[i]
		if f.name == name || len(f.name) == len(name) && strings.EqualFold(f.name, name) {
			return f.value, true
		}
	}
	return "", false
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

// Stanzas gives the stanzas of any control file, such as a Sources index, each as a function
// from a field's name to its value, "" where there is none; it is good until the next one.
// The limits are those of a Packages file. An error names the line and ends it.
func Stanzas(r io.Reader) iter.Seq2[func(field string) string, error] {
	return func(yield func(func(string) string, error) bool) {
		stanzas := newStanzaReader(r)
		for n := 0; ; n++ {
			s, err := stanzas.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && n == maxStanzas {
				err = fmt.Errorf("more than %d stanzas", maxStanzas)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(s.get, nil) {
				return
			}
		}
	}
}

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
	text := string(r.buf)
	for _, c := range r.cuts {
		name := text[c.name:c.colon]
		if _, twice := r.st.find(name); twice {
			return nil, fmt.Errorf("line %d: the stanza says %s twice", r.st.line, name)
		}
		r.st.fields = append(r.st.fields, field{name, strings.TrimSpace(text[c.colon+1 : c.end])})
	}
	return &r.st, nil
}
