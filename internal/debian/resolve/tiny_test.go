package resolve_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/debian/resolve"
)

// tiny is an archive in a few lines, one for each package:
//
//	name version [architecture]; Field: value; ...; suite: NAME
//
// Without a suite a package is in "main", and without an architecture it is for amd64.
type tiny string

// packagesFiles gives a Packages file for every suite, "main" first, the others by name.
func (a tiny) packagesFiles() (suites []string, files map[string]string) {
	texts := map[string]*strings.Builder{"main": {}}
	for n, line := range strings.Split(strings.TrimSpace(string(a)), "\n") {
		parts := strings.Split(strings.TrimSpace(line), ";")
		f := strings.Fields(parts[0])
		if len(f) < 2 {
			continue
		}
		arch, suite := "amd64", "main"
		if len(f) > 2 {
			arch = f[2]
		}
		var fields strings.Builder
		for _, p := range parts[1:] {
			p = strings.TrimSpace(p)
			if name, ok := strings.CutPrefix(p, "suite: "); ok {
				suite = name
				continue
			}
			fields.WriteString(p + "\n")
		}
		if texts[suite] == nil {
			texts[suite] = &strings.Builder{}
		}
		fmt.Fprintf(texts[suite],
			"Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: x <x@example.org>\nDescription: x\nFilename: pool/%d.deb\nSize: 1\nSHA256: %x\n%s\n",
			f[0], f[1], arch, n, sha256.Sum256([]byte(line)), fields.String())
	}
	files = make(map[string]string)
	for suite, text := range texts {
		suites = append(suites, suite)
		files[suite] = text.String()
	}
	slices.SortFunc(suites, func(a, b string) int {
		switch {
		case a == "main":
			return -1
		case b == "main":
			return 1
		}
		return strings.Compare(a, b)
	})
	return suites, files
}

func (a tiny) universe(t testing.TB) *index.Universe {
	t.Helper()
	var indexes []*index.Index
	suites, files := a.packagesFiles()
	for _, suite := range suites {
		var file bytes.Buffer
		if err := index.Build(t.Context(), strings.NewReader(files[suite]), &file); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), suite)
		if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		x, err := index.Open(path, suite)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.Close() })
		indexes = append(indexes, x)
	}
	return index.NewUniverse(indexes...)
}

func resolveTiny(t testing.TB, a tiny, want string, omit ...string) (resolve.Result, error) {
	t.Helper()
	return resolve.Resolve(t.Context(), a.universe(t), resolve.Request{
		Architecture: "amd64", Packages: split(want), Omit: omit,
	})
}

// split takes requests apart: by commas when there are any, as relations hold spaces.
func split(s string) []string {
	if strings.Contains(s, ",") || strings.Contains(s, "(") {
		var parts []string
		for p := range strings.SplitSeq(s, ",") {
			parts = append(parts, strings.TrimSpace(p))
		}
		return parts
	}
	return strings.Fields(s)
}
