// Package fault takes what went wrong and gives one error that every door understands:
// its kind decides the exit code, its hint tells the user what to do next.
package fault

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// Kind says what sort of failure an error is. Doors translate it: the command line to
// an exit code, a server to an HTTP status.
type Kind int

// The kinds. The zero Kind is Failed.
const (
	Failed      Kind = iota // the work could not be done
	Usage                   // the caller asked wrongly: flags, spec, reference
	Denied                  // policy or verification said no
	NotFound                // the named thing does not exist
	Unavailable             // something outside did not answer; trying again may help
	Canceled                // the caller gave up
)

// Error is one line for the user: what failed, on which input, and why.
type Error struct {
	Kind  Kind
	What  string // the thing being done, such as "verify InRelease"
	Which string // the input it was done to; printed quoted when it holds spaces; may be empty
	Why   error  // the cause; may be nil
	Hint  string // one sentence: what the user can do about it; may be empty
}

// New gives an error of the kind. which and why may be zero.
func New(kind Kind, what, which string, why error) *Error {
	return &Error{Kind: kind, What: what, Which: which, Why: why}
}

// Newf is New with a cause that has only a text.
func Newf(kind Kind, what, which, why string) *Error {
	return New(kind, what, which, errors.New(why))
}

// WithHint gives a copy of e that carries the hint.
func (e *Error) WithHint(hint string) *Error {
	c := *e
	c.Hint = hint
	return &c
}

// Error gives "what: which: why" on one line.
func (e *Error) Error() string {
	parts := []string{e.What}
	if e.Which != "" {
		which := e.Which
		if strings.ContainsAny(which, " \t\n\"") {
			which = strconv.Quote(which)
		}
		parts = append(parts, which)
	}
	if e.Why != nil {
		parts = append(parts, e.Why.Error())
	}
	return oneLine(strings.Join(parts, ": "))
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Why }

// KindOf gives the kind of the outermost Error in err's chain, Canceled for a context's
// end, Failed for anything else.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.As(err, &e):
		return e.Kind
	}
	return Failed
}

// HintOf gives the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Why
	}
	return ""
}

// ExitCode gives the process exit status for err: 0 done, 1 failed, 2 usage, 3 denied.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case KindOf(err) == Usage:
		return 2
	case KindOf(err) == Denied:
		return 3
	}
	return 1
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
