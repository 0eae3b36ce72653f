package inventorytest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

// What testMany asks: more images, and more stacks of them, than are ever looked up one by one.
const (
	manyImages = 5600
	manyStacks = 700
)

// manyImage gives the nth of many. Its stack has a package of its own, one that every
// second stack has, and one that all have.
func manyImage(n int) inventory.Image {
	stack := n % manyStacks
	layer := fmt.Sprint("many", stack)
	packages := []artifact.Package{npm("", fmt.Sprint("own-", stack), "1.0.0", layer), npm("", "all", "1.0.0", layer)}
	if stack%2 == 0 {
		packages = append(packages, npm("", "even", "1.0.0", layer))
	}
	return inventory.Image{
		Reference: fmt.Sprintf("registry.example/team-%d/app-%d:1.%d", n%7, n, n%10),
		Contents:  artifact.Contents{Image: sum(fmt.Sprint("many", n)), Platform: "linux/amd64", Layers: []string{sum(layer)}, Packages: packages},
		Pushed:    day(1), Size: int64(n),
	}
}

// testMany asks what few images and what many answer: each is found in another way.
func testMany(t *testing.T, address string) {
	inv := open(t, address, newClock())
	images := make([]inventory.Image, manyImages)
	for n := range images {
		images[n] = manyImage(n)
	}
	put(t, inv, images...)
	even := func(n int) bool { return n%manyStacks%2 == 0 }
	for _, c := range []struct {
		question string
		holds    func(n int) bool
	}{
		{`images`, func(int) bool { return true }},
		{`what contains all`, func(int) bool { return true }},
		{`what contains even`, even},
		{`images where not contains even`, func(n int) bool { return !even(n) }},
		{`what contains own-3`, func(n int) bool { return n%manyStacks == 3 }},
		{`images where contains even and not contains own-4`, func(n int) bool { return even(n) && n%manyStacks != 4 }},
		{`images where contains own-3 or contains own-4`, func(n int) bool { return n%manyStacks == 3 || n%manyStacks == 4 }},
		{`images where contains even and tag = "1.2"`, func(n int) bool { return even(n) && n%10 == 2 }},
		{`images where contains even or tag = "1.3"`, func(n int) bool { return even(n) || n%10 == 3 }},
		{`images where contains own-3 and repository ~ "*/team-1/*"`, func(n int) bool { return n%manyStacks == 3 && n%7 == 1 }},
		{`images where tag ~ "1.*"`, func(int) bool { return true }},
		{`images where tag ~ "1.*" and size >= 3000`, func(n int) bool { return n >= 3000 }},
		{`images where tag != "1.2"`, func(n int) bool { return n%10 != 2 }},
		{`images where repository ~ "registry.example/team-1/*" and tag ~ "1.?"`, func(n int) bool { return n%7 == 1 }},
		{`images where size < 300`, func(n int) bool { return n < 300 }},
		{`images where size < 4000 and not contains even`, func(n int) bool { return n < 4000 && !even(n) }},
	} {
		want := map[string]bool{}
		for n := range images {
			if c.holds(n) {
				want[images[n].Reference] = true
			}
		}
		q, err := query.Parse(c.question)
		if err != nil {
			t.Fatal(err)
		}
		var last string
		found := 0
		for page := (inventory.Page{Limit: 1000}); ; {
			result, err := inv.Query(t.Context(), q, page)
			if err != nil {
				t.Fatalf("%s: %v", c.question, err)
			}
			if result.Total != len(want) {
				t.Fatalf("%s: a total of %d, want %d", c.question, result.Total, len(want))
			}
			for _, image := range result.Images {
				if !want[image.Name] || image.Name <= last {
					t.Fatalf("%s: %s, after %q", c.question, image.Name, last)
				}
				last = image.Name
				found++
			}
			if page.After = result.Next; page.After == "" {
				break
			}
		}
		if found != len(want) {
			t.Errorf("%s: %d images on all pages, want %d", c.question, found, len(want))
		}
	}
}

// testAffectedNames lists images whose names hold what the list itself is made of.
func testAffectedNames(t *testing.T, address string) {
	inv := open(t, address, newClock())
	var want []inventory.Named
	for n, name := range []string{"registry.example/ 7 a,b:1", "registry.example/a,1 00 3 abc:1", "registry.example/line\nbreak:é", "registry.example/ship-\U0001F6A2:1"} {
		image := Fleet()[0]
		image.Reference, image.Contents.Image = name, sum(name)
		image.Contents.Platform = []string{"linux/amd64", "linux/arm64"}[n%2]
		put(t, inv, image)
		want = append(want, inventory.Named{Name: name, Digest: sum(name), Platform: image.Contents.Platform})
	}
	rematch(t, inv, inventory.Which{}, Advisories())
	got, err := inv.Affected(t.Context(), "CVE-2025-9230")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v: %s", err, diff)
	}
	if got, err := inv.Affected(t.Context(), "CVE-0000-0000"); err != nil || len(got) > 0 {
		t.Errorf("nobody knows it: %v, %v", got, err)
	}
}

// testRemembered changes an index behind the back of one that has answered from it.
func testRemembered(t *testing.T, address string) {
	c := newClock()
	here, elsewhere := open(t, address, c), open(t, address, c)
	count := func() int {
		answers := ask(t, here, `packages where package glibc`).Packages
		if len(answers) == 0 {
			return 0
		}
		return answers[0].Images
	}
	fleet := Fleet()
	for _, step := range []struct {
		what string
		do   func() error
		want int
	}{
		{"nothing", func() error { return nil }, 0},
		{"an image", func() error { return elsewhere.Put(t.Context(), fleet[0]) }, 1},
		{"the others", func() error { return elsewhere.Put(t.Context(), fleet...) }, 3},
		{"the same again", func() error { return elsewhere.Put(t.Context(), fleet...) }, 3},
		{"one less", func() error { return elsewhere.Remove(t.Context(), fleet[0].Reference) }, 2},
		{"it is back", func() error { return elsewhere.Put(t.Context(), fleet[0]) }, 3},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != step.want {
			t.Errorf("%s: %d images hold the package, want %d", step.what, got, step.want)
		}
	}
}
