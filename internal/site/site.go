// Package site takes a home folder and gives what is done in it, for commands and for controllers:
// images built, rebased and accounted for, advisories and verdicts kept, its registry served.
//
// A Site is meant to live as long as its process. Its doors take requests without flags, print
// nothing, and may be called at once; what is made under one tag at once is made one after the
// other, in the order of the calls.
package site

import (
	"context"
	"sync/atomic"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/caches"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// Site is a home in which something is done.
type Site struct {
	*home.Home

	executor func() (executor.Executor, error)
	tags     turns
	filled   atomic.Bool                 // something was made that caches keep
	judging  atomic.Pointer[judge.Judge] // of the registry that this process serves; nil where it serves none with policies
}

// Options are what New may be told.
type Options struct {
	home.Options

	// Executor gives what runs the steps of builds, when it is first needed. nil builds nothing.
	Executor func() (executor.Executor, error)
}

// New gives the site of the home in the folder. Nothing is opened until it is needed; Close it.
func New(folder string, registries *oci.Registries, o Options) *Site {
	return &Site{Home: home.New(folder, registries, o.Options), executor: o.Executor}
}

// Steps gives what runs the steps of builds.
func (s *Site) Steps() (executor.Executor, error) {
	if s.executor == nil {
		return nil, fault.Newf(fault.Failed, "open executor", "", "this site has none")
	}
	return s.executor()
}

// Caches gives the caches of the home, with the bounds that the environment says. Its error is of kind
// Usage.
func (s *Site) Caches() (*caches.Caches, error) {
	total, err := caches.Total(s.Getenv)
	if err != nil {
		return nil, err
	}
	return caches.Open(s.Folder, total, s.unpacked), nil
}

// unpacked gives what steps see on this machine; nil where they run elsewhere, or cannot run.
func (s *Site) unpacked() (caches.Unpacked, error) {
	if s.executor == nil {
		return nil, nil
	}
	steps, err := s.Steps()
	if fault.KindOf(err) == fault.Unavailable {
		return nil, nil
	}
	unpacked, _ := steps.(caches.Unpacked)
	return unpacked, err
}

// Close bounds the caches that this process has filled, when nobody has for a day, and closes what was
// opened.
func (s *Site) Close() error {
	if s.filled.Load() {
		s.bind()
	}
	return s.Home.Close()
}

// bind bounds the caches. Roots are bound by who opened them.
func (s *Site) bind() {
	kept, err := s.Caches()
	if err == nil && kept.Due() {
		_, err = kept.Prune(context.Background(), caches.PruneOptions{NoRoots: true})
	}
	if err != nil { // what was done stands
		s.Warn("caches were not bounded: "+err.Error(), fault.HintOf(err))
	}
}

// Means are what a piece of work has of its own. The zero value is what the site has.
type Means struct {
	// Registries are the ways to registries, as with the credentials of whom it is done for. Its
	// Local must be the site's.
	Registries *oci.Registries

	Warn func(warning, hint string) // hears of what is wrong and stops nothing, as home.Options.Warn

	// Others says, while it does, that another process holds what is new in the inventory against
	// advisories, by Match; nil is that this one does.
	Others func() bool
}

// with gives the site's home, as the means have it.
func (s *Site) with(m Means) *home.Home {
	h := s.Home
	if m.Registries != nil {
		h = h.Through(m.Registries)
	}
	if m.Warn != nil {
		h = h.Warning(m.Warn)
	}
	if m.Others != nil {
		h = h.MatchedByOthers(m.Others)
	}
	return h
}
