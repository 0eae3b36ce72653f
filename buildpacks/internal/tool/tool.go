// Package tool takes a program of the build image and gives its run: what it prints is
// passed on as it comes, and when it fails the error is one line.
package tool

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Command is a program to run.
type Command struct {
	Path string    // a program name, or the path of one
	Args []string  // without the program
	Dir  string    // working directory; "" means the caller's
	Env  []string  // "NAME=value", on top of the caller's environment
	Out  io.Writer // gets all that the program prints; nil means the caller's standard output
}

// Error says that a program failed.
type Error struct {
	Program string // its name and what it was to do, such as "npm ci", "npm run build"
	Err     error  // how it ended
	Tail    string // the last of what it printed
}

// Error gives one line, without what the program printed: that has been seen already.
func (e *Error) Error() string { return fmt.Sprintf("`%s` failed (%v)", e.Program, e.Err) }

// Unwrap gives how the program ended.
func (e *Error) Unwrap() error { return e.Err }

// unreachable are the words by which Go, npm, pip, git and curl say that nothing answered.
var unreachable = []string{
	"dial tcp", "no such host", "i/o timeout", "network is unreachable", "connection refused",
	"enotfound", "eai_again", "econnrefused", "econnreset", "etimedout", "enetunreach",
	"name resolution", "could not resolve", "proxyconnect", "max retries exceeded",
	"failed to establish a new connection",
}

// untrusted are their words for a certificate that no authority they know has signed.
var untrusted = []string{
	"x509:", "unable_to_verify_leaf_signature", "self_signed_cert_in_chain", "unable_to_get_issuer_cert",
	"depth_zero_self_signed_cert", "unable to get local issuer certificate", "certificate verify failed",
}

// NoNetwork tells whether the program failed because something did not answer.
func (e *Error) NoNetwork() bool { return e.says(unreachable) }

// Untrusted tells whether the program failed because it did not trust a server.
func (e *Error) Untrusted() bool { return e.says(untrusted) }

func (e *Error) says(any []string) bool {
	text := strings.ToLower(e.Tail)
	return slices.ContainsFunc(any, func(words string) bool { return strings.Contains(text, words) })
}

// Run runs the program to its end. Its error is an *Error.
func (c Command) Run() error {
	out := c.Out
	if out == nil {
		out = os.Stdout
	}
	last := &tail{}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout = io.MultiWriter(out, last)
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		return c.failed(err, last.String())
	}
	return nil
}

// Output runs the program and gives what it prints to standard output. What it prints to
// standard error is passed on only when it fails.
func (c Command) Output() (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		_, _ = errs.WriteTo(os.Stderr)
		return "", c.failed(err, errs.String())
	}
	return out.String(), nil
}

func (c Command) failed(err error, tail string) error {
	words := c.Args[:min(1, len(c.Args))]
	if len(c.Args) > 1 && c.Args[0] == "run" { // which of the scripts it was
		words = c.Args[:2]
	}
	program := strings.Join(append([]string{filepath.Base(c.Path)}, words...), " ")
	return &Error{Program: program, Err: err, Tail: tail}
}

// tail keeps the last of what is written to it.
type tail struct{ kept []byte }

const tailBytes = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - tailBytes; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.kept) }
