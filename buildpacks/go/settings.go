package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// settings is what the user asks of a build.
type settings struct {
	targets []string // BP_GO_TARGETS: package patterns
	version string   // BP_GO_VERSION: a release without its "go"
	cgo     bool     // BP_GO_CGO
	tags    string   // BP_GO_TAGS
	ldflags string   // BP_GO_LDFLAGS
	flags   []string // BP_GO_FLAGS
	keep    []string // BP_KEEP_FILES: patterns
	arch    string   // to compile for
}

func readSettings() (settings, error) {
	s := settings{
		targets: list(os.Getenv("BP_GO_TARGETS")),
		version: strings.TrimPrefix(os.Getenv("BP_GO_VERSION"), "go"),
		tags:    strings.Join(list(os.Getenv("BP_GO_TAGS")), ","),
		ldflags: os.Getenv("BP_GO_LDFLAGS"),
		flags:   strings.Fields(os.Getenv("BP_GO_FLAGS")),
		keep:    list(os.Getenv("BP_KEEP_FILES")),
		arch:    os.Getenv("CNB_TARGET_ARCH"),
	}
	if s.arch == "" { // a platform that only builds for the machine it runs on
		s.arch = runtime.GOARCH
	}
	switch value := os.Getenv("BP_GO_CGO"); value {
	case "", "0", "false":
	case "1", "true":
		s.cgo = true
	default:
		return settings{}, fmt.Errorf("BP_GO_CGO is %q: say true or false", value)
	}
	if s.cgo && s.arch != runtime.GOARCH {
		return settings{}, fmt.Errorf("BP_GO_CGO=true cannot compile for %s on %s: the build image's C compiler makes only programs for its own kind of machine", s.arch, runtime.GOARCH)
	}
	for _, flag := range s.flags {
		name, _, _ := strings.Cut(strings.TrimLeft(flag, "-"), "=")
		switch name {
		case "o", "C", "mod", "modfile", "overlay":
			return settings{}, fmt.Errorf("BP_GO_FLAGS holds -%s, which the buildpack decides itself", name)
		case "ldflags":
			return settings{}, fmt.Errorf("BP_GO_FLAGS holds -ldflags: put its value into BP_GO_LDFLAGS")
		case "tags":
			return settings{}, fmt.Errorf("BP_GO_FLAGS holds -tags: put its value into BP_GO_TAGS")
		}
	}
	return s, nil
}

// list gives the items of a value that are apart by spaces, commas or colons.
func list(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" \t\n,:", r) })
}
