package secrets

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// Hidden is a text that does not print itself, however it is asked; string(h) is what it holds.
type Hidden string

const mask = "***"

// Format prints the mask for every verb.
func (Hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) }

// String gives the mask.
func (Hidden) String() string { return mask }

// MarshalText gives the mask.
func (Hidden) MarshalText() ([]byte, error) { return []byte(mask), nil }

// LogValue gives the mask.
func (Hidden) LogValue() slog.Value { return slog.StringValue(mask) }

// shortest is how long a secret must be to be looked for in what others print: a shorter one is
// found everywhere.
const shortest = 5

// Values gives all that must not be printed by others who were told, longest first: each secret,
// each line of one that has several, and both in base64.
func (r Resolved) Values() []string {
	found := map[string]bool{}
	add := func(text string) {
		if text = strings.TrimSpace(text); len(text) >= shortest {
			found[text] = true
			found[base64.StdEncoding.EncodeToString([]byte(text))] = true
		}
	}
	hidden := slices.Clone(r.Hide)
	for _, login := range r.Registries {
		hidden = append(hidden, login.Password, login.Token, Hidden(login.Username+":"+string(login.Password)))
	}
	for _, login := range r.Git {
		hidden = append(hidden, login.Password, login.Key, Hidden(login.Username+":"+string(login.Password)))
	}
	for _, h := range hidden {
		add(string(h))
		if strings.Contains(string(h), "\n") {
			for line := range strings.Lines(string(h)) {
				add(line)
			}
		}
	}
	out := make([]string, 0, len(found))
	for text := range found {
		out = append(out, text)
	}
	slices.SortFunc(out, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return out
}

// Redactor hides secrets in text.
type Redactor struct {
	replacer *strings.Replacer // nil: there is nothing to hide
	longest  int
}

// Redactor gives one that hides what r holds.
func (r Resolved) Redactor() Redactor {
	values := r.Values()
	if len(values) == 0 {
		return Redactor{}
	}
	var pairs []string
	for _, value := range values {
		pairs = append(pairs, value, mask)
	}
	return Redactor{replacer: strings.NewReplacer(pairs...), longest: len(values[0])}
}

// Text gives the text with a mask for each secret.
func (r Redactor) Text(text string) string {
	if r.replacer == nil {
		return text
	}
	return r.replacer.Replace(text)
}

// Writer gives a writer that hides secrets in what it hands on to w, line by line; Close hands on
// what is left, and does not close w. It is for one goroutine.
func (r Redactor) Writer(w io.Writer) io.WriteCloser { return &redacting{Redactor: r, out: w} }

type redacting struct {
	Redactor
	out  io.Writer
	held []byte // the beginning of a line
}

// mostHeld bounds what waits for the end of its line.
const mostHeld = 64 << 10

func (r *redacting) Write(p []byte) (int, error) {
	r.held = append(r.held, p...)
	if end := strings.LastIndexByte(string(r.held), '\n'); end >= 0 {
		if err := r.hand(end + 1); err != nil {
			return 0, err
		}
	}
	if len(r.held) > mostHeld+r.longest {
		// What may be the beginning of a secret stays.
		r.held = []byte(r.Text(string(r.held)))
		if cut := len(r.held) - r.longest; cut > 0 {
			_, err := r.out.Write(r.held[:cut])
			r.held = append(r.held[:0], r.held[cut:]...)
			return len(p), err
		}
	}
	return len(p), nil
}

// hand hands on the first n bytes that are held.
func (r *redacting) hand(n int) error {
	text := r.Text(string(r.held[:n]))
	r.held = append(r.held[:0], r.held[n:]...)
	_, err := io.WriteString(r.out, text)
	return err
}

// Close hands on what has no end of line.
func (r *redacting) Close() error { return r.hand(len(r.held)) }
