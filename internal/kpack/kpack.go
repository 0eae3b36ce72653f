// Package kpack takes YAML that was written for kpack and gives the same as resources of Plimsoll,
// and a note, with its file and line, of everything that has no equivalent.
//
// Nothing vanishes silently: a field of kpack's is converted, or there is a note of it. What is not
// kpack's own (service accounts, secrets) is handed on as it is.
package kpack

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Input is one file.
type Input struct {
	Name string // as notes and errors name it
	Text []byte // YAML, of any number of documents
}

// Note is something that has no equivalent, and what to do about it.
type Note struct {
	File     string `json:"file"`
	Line     int    `json:"line"`     // from 1
	Resource string `json:"resource"` // "Image team-a/shop"
	Field    string `json:"field,omitempty"`
	Text     string `json:"text"`
}

// String gives "file:line: resource: field: text".
func (n Note) String() string {
	parts := []string{fmt.Sprintf("%s:%d", n.File, n.Line), n.Resource, n.Field, n.Text}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// Result is what became of the input.
type Result struct {
	Documents [][]byte // YAML, in the order of the input: each ends with a line break
	Notes     []Note   // by file and line
}

// Convert converts all files together, since resources refer to each other. Its error is of kind
// Usage and names the file and the line that cannot be read.
func Convert(inputs []Input) (*Result, error) {
	c := &conversion{found: map[string]*resource{}, accounts: map[string]*account{}, written: map[string]bool{}}
	for _, in := range inputs {
		if err := c.read(in); err != nil {
			return nil, fault.New(fault.Usage, "convert", in.Name, err).WithHint("give YAML as kubectl get -o yaml writes it")
		}
	}
	for _, r := range c.resources {
		if err := c.convert(r); err != nil {
			return nil, fault.New(fault.Failed, "convert", r.String(), err)
		}
	}
	c.noteUnused()
	slices.SortFunc(c.result.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Text, b.Text))
	})
	c.result.Notes = slices.Compact(c.result.Notes) // a part of two builders is told of once
	return &c.result, nil
}

// conversion is one under way.
type conversion struct {
	resources []*resource
	found     map[string]*resource // kpack's own, by key
	accounts  map[string]*account  // by namespace/name
	written   map[string]bool      // our own, by kind and name
	result    Result
}

// convert writes what the resource becomes, if anything.
func (c *conversion) convert(r *resource) error {
	if !r.isKpack() {
		c.noteCredentials(r)
		return c.handOn(r)
	}
	switch r.kind {
	case "Image":
		return c.image(r)
	case "ClusterBuilder", "Builder":
		return c.builder(r)
	case "ClusterStack", "ClusterStore", "ClusterBuildpack", "Buildpack", "ClusterLifecycle":
		return nil // parts of builders: converted with those that use them
	case "Build", "SourceResolver":
		c.note(r, "", "left out: it is what kpack did, and Plimsoll keeps its own history")
	default:
		c.note(r, "kind", "left out: Plimsoll has no such resource")
	}
	return nil
}

func (c *conversion) note(r *resource, field, format string, args ...any) {
	c.result.Notes = append(c.result.Notes, Note{
		File: r.file, Line: r.line(field), Resource: r.String(), Field: field, Text: fmt.Sprintf(format, args...),
	})
}

// noteUnused tells of parts that no builder in the input is made of.
func (c *conversion) noteUnused() {
	for _, r := range c.resources {
		if _, part := parts[r.kind]; part && r.isKpack() && !r.used {
			c.note(r, "", "left out: no builder in the input is made of it")
		}
	}
}
