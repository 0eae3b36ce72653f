// Package site takes a home folder and gives what is done in it, for commands and for controllers:
// images built, rebased and accounted for, advisories and verdicts kept, its registry served.
//
// A Site is meant to live as long as its process. Its doors take requests without flags, print
// nothing, and may be called at once; what is made under one tag at once is made one after the
// other, in the order of the calls.
package site

import (
	"errors"
	"sync/atomic"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// Site is a home in which something is done.
type Site struct {
	*home.Home

	executor func() (executor.Executor, error)
	tags     turns
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
		return nil, errors.New("this site has no executor")
	}
	return s.executor()
}

// hearing gives the site's home, with another who hears its warnings where there is one.
func (s *Site) hearing(warn func(warning, hint string)) *home.Home {
	if warn == nil {
		return s.Home
	}
	return s.Warning(warn)
}
