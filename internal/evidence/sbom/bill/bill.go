// Package bill takes what the forms of a bill of materials have in common and gives it to
// them: what a bill says of itself, names in it, and JSON in few allocations.
package bill

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"plimsoll.dev/plimsoll/artifact"
)

// Tool is who writes the bills.
const Tool = "plimsoll"

// About is what a bill says of itself.
type About struct {
	Name    string    // what people call the image: its repository, or its digest
	Version string    // of plimsoll; "" when it is not known
	Created time.Time // when the image, or the claim, was made; whole seconds in UTC are kept
}

// Stamp gives the time as both forms want it.
func (a About) Stamp() string { return a.Created.UTC().Format("2006-01-02T15:04:05Z") }

// ImageURL gives the image's package URL (purl-spec, PURL-TYPES, oci), "" for one without a
// digest.
func ImageURL(about About, c artifact.Contents) string {
	if c.Image == "" {
		return ""
	}
	name := about.Name
	if at := strings.IndexByte(name, '@'); at >= 0 {
		name = name[:at]
	}
	name = name[strings.LastIndexByte(name, '/')+1:]
	if colon := strings.IndexByte(name, ':'); colon >= 0 {
		name = name[:colon]
	}
	url := artifact.Package{Type: "oci", Name: cmp.Or(strings.ToLower(name), "image"), Version: c.Image}.PURL()
	if _, arch, ok := strings.Cut(c.Platform, "/"); ok {
		arch, _, _ = strings.Cut(arch, "/")
		url += "?arch=" + arch
	}
	return url
}

// Key gives 16 hexadecimal digits that stand for the texts.
func Key(texts ...string) string {
	var buf [512]byte
	all := buf[:0]
	for _, t := range texts {
		all = append(append(all, t...), 0)
	}
	sum := sha256.Sum256(all)
	return hex.EncodeToString(sum[:8])
}

// Writer appends JSON. It is for the fixed forms of a bill: its caller sees to it that what
// is opened is closed.
type Writer struct {
	Out   []byte
	comma bool
}

// Open begins an object or a list: '{' or '['.
func (w *Writer) Open(bracket byte) {
	w.separate()
	w.Out = append(w.Out, bracket)
	w.comma = false
}

// Close ends it.
func (w *Writer) Close(bracket byte) {
	w.Out = append(w.Out, bracket)
	w.comma = true
}

// Key begins a member of an object.
func (w *Writer) Key(name string) {
	w.separate()
	w.Out = append(w.Out, '"')
	w.Out = append(w.Out, name...)
	w.Out = append(w.Out, '"', ':')
	w.comma = false
}

// Field writes a member whose value is text, unless that is empty.
func (w *Writer) Field(name, value string) {
	if value != "" {
		w.Key(name)
		w.Text(value)
	}
}

// Number writes a member whose value is a number.
func (w *Writer) Number(name string, value int64) {
	w.Key(name)
	w.Out = strconv.AppendInt(w.Out, value, 10)
	w.comma = true
}

// Bool writes a member that is true or false.
func (w *Writer) Bool(name string, value bool) {
	w.Key(name)
	w.Out = strconv.AppendBool(w.Out, value)
	w.comma = true
}

// Text writes a value, what is no UTF-8 in it replaced (RFC 8259, sections 7 and 8.1).
func (w *Writer) Text(s string) {
	w.separate()
	w.comma = true
	w.Out = append(w.Out, '"')
	from := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= ' ' && b != '"' && b != '\\' && b < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if b >= utf8.RuneSelf && !(r == utf8.RuneError && size == 1) {
			i += size
			continue
		}
		w.Out = append(w.Out, s[from:i]...)
		switch {
		case b >= utf8.RuneSelf:
			w.Out = append(w.Out, "\uFFFD"...)
		case b == '"' || b == '\\':
			w.Out = append(w.Out, '\\', b)
		default:
			const digits = "0123456789abcdef"
			w.Out = append(w.Out, '\\', 'u', '0', '0', digits[b>>4], digits[b&15])
		}
		i += size
		from = i
	}
	w.Out = append(w.Out, s[from:]...)
	w.Out = append(w.Out, '"')
}

func (w *Writer) separate() {
	if w.comma {
		w.Out = append(w.Out, ',')
	}
}
