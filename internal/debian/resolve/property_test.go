package resolve_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/debian/resolve"
	"plimsoll.dev/plimsoll/internal/fault"
)

// randomArchive gives six packages in one or two versions each, related at random in every
// way that matters to one architecture, and dense enough that about half cannot be had.
func randomArchive(r *rand.Rand) tiny {
	const names = "abcdef"
	name := func() string { return string(names[r.IntN(len(names))]) }
	relation := func() string {
		target := name()
		if r.IntN(4) == 0 {
			target = "v" + fmt.Sprint(r.IntN(2))
		}
		if r.IntN(2) == 0 {
			return target
		}
		return fmt.Sprintf("%s (%s %d)", target, []string{"<<", "<=", "=", ">=", ">>"}[r.IntN(5)], 1+r.IntN(2))
	}
	var archive strings.Builder
	for _, n := range names {
		for version := 1; version <= 1+r.IntN(2); version++ {
			fmt.Fprintf(&archive, "%c %d", n, version)
			var needs []string
			for range r.IntN(3) {
				group := []string{relation()}
				for r.IntN(2) == 0 {
					group = append(group, relation())
				}
				needs = append(needs, strings.Join(group, " | "))
			}
			if len(needs) > 0 {
				fmt.Fprintf(&archive, "; %s: %s", []string{"Depends", "Pre-Depends"}[r.IntN(2)], strings.Join(needs, ", "))
			}
			if r.IntN(3) == 0 {
				fmt.Fprintf(&archive, "; %s: %s", []string{"Conflicts", "Breaks"}[r.IntN(2)], relation())
			}
			if r.IntN(3) == 0 {
				fmt.Fprintf(&archive, "; Provides: v%d%s", r.IntN(2), []string{"", " (= 1)", " (= 2)"}[r.IntN(3)])
			}
			if r.IntN(4) == 0 {
				fmt.Fprintf(&archive, "; suite: security")
			}
			archive.WriteString("\n")
		}
	}
	return tiny(archive.String())
}

// hold checks one archive: what is found satisfies every relation, and where nothing is found
// nothing exists, as trying all sets shows.
func hold(t *testing.T, archive tiny) (possible bool) {
	t.Helper()
	u := archive.universe(t)
	request := []string{"a", "b"}
	result, err := resolve.Resolve(t.Context(), u, resolve.Request{Architecture: "amd64", Packages: request})
	if err == nil {
		check(t, u, "amd64", request, result)
		if t.Failed() {
			t.Fatalf("archive:\n%s", archive)
		}
		return true
	}
	if fault.KindOf(err) != fault.Failed || !strings.Contains(err.Error(), "requested") && !strings.Contains(err.Error(), "needs") {
		t.Fatalf("an explanation that explains nothing: %v\narchive:\n%s", err, archive)
	}
	if set := anySet(t, u, request); set != nil {
		t.Fatalf("said to be impossible (%v), and here is one: %v\narchive:\n%s", err, set, archive)
	}
	return false
}

// anySet tries every choice of versions and gives the first sound set that has the request.
func anySet(t *testing.T, u *index.Universe, request []string) []*index.Package {
	choices := [][]*index.Package{}
	for _, n := range "abcdef" {
		versions, err := u.Versions(string(n))
		if err != nil {
			t.Fatal(err)
		}
		choices = append(choices, versions)
	}
	var try func(i int, set []*index.Package) []*index.Package
	try = func(i int, set []*index.Package) []*index.Package {
		if i == len(choices) {
			if len(complaints(t, set, "amd64")) == 0 {
				return set
			}
			return nil
		}
		for _, p := range choices[i] {
			if found := try(i+1, append(set[:len(set):len(set)], p)); found != nil {
				return found
			}
		}
		if i < len(request) {
			return nil // a and b come first, and are requested
		}
		return try(i+1, set)
	}
	return try(0, nil)
}

func TestRandomArchives(t *testing.T) {
	possible, total := 0, 400
	for seed := range total {
		if hold(t, randomArchive(rand.New(rand.NewPCG(uint64(seed), 1)))) {
			possible++
		}
	}
	if possible < total/5 || possible > total*4/5 {
		t.Errorf("%d of %d archives have a set: the generator proves little", possible, total)
	}
}

// TestRandomArchivesAsApt: whatever apt can install, we can, and it is the same set.
func TestRandomArchivesAsApt(t *testing.T) {
	const total = 100
	for seed := range total {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			archive := randomArchive(rand.New(rand.NewPCG(uint64(seed), 1)))
			theirs := tinyApt(t, archive, []string{"a", "b"})
			result, err := resolve.Resolve(t.Context(), archive.universe(t),
				resolve.Request{Architecture: "amd64", Packages: []string{"a", "b"}})
			if theirs != nil && err != nil {
				t.Errorf("apt installs %q, and we fail: %v\n%s", theirs, err, archive)
			}
			if theirs != nil && !slices.Equal(theirs, names(result)) {
				t.Errorf("apt installs %q, we %q\n%s", theirs, names(result), archive)
			}
		})
	}
}

func FuzzResolve(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Add(uint64(1<<40), uint64(7))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		hold(t, randomArchive(rand.New(rand.NewPCG(a, b))))
	})
}
