package verdicts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	one = Image{"shop", "sha256:" + strings.Repeat("1", 64)}
	two = Image{"team/a@b", "sha256:" + strings.Repeat("2", 64)}
)

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	open := func() *journal {
		t.Helper()
		j, err := openJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	j := open()
	must(j.add(opChanged, []Image{one, two}, true))
	must(j.add(opUntold, []Image{one}, false))
	first := j.pending(opChanged, one)
	must(j.add(opChanged, []Image{one}, true))
	must(j.done(opChanged, one, first)) // it was asked for again
	must(j.done(opChanged, two, j.pending(opChanged, two)))
	must(j.done(opChanged, two, j.pending(opChanged, two)))
	must(j.close())
	half, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(err)
	_, err = half.WriteString("C " + one.String()) // killed while writing
	must(err)
	must(half.Close())
	for range 2 { // reading leaves all as it is
		j = open()
		if diff := cmp.Diff([]Image{one}, j.remaining(opChanged)); diff != "" {
			t.Errorf("changed (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]Image{one}, j.remaining(opUntold)); diff != "" {
			t.Errorf("untold (-want +got)\n%s", diff)
		}
		must(j.close())
	}

	j = open()
	for range 2 * maxLines {
		must(j.add(opUntold, []Image{two}, false))
		must(j.done(opUntold, two, j.pending(opUntold, two)))
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 100*(maxLines+100) {
		t.Errorf("the journal has %d bytes: %v", info.Size(), err)
	}
	must(j.close())
}

func FuzzJournal(f *testing.F) {
	f.Add("c shop@" + one.Digest + "\nC shop@" + one.Digest + "\nu team/a@b@" + two.Digest + "\n")
	f.Add("c @\n\n@ c\nx shop@" + one.Digest)
	f.Fuzz(func(t *testing.T, text string) {
		j, again := &journal{left: map[task]uint64{}}, &journal{left: map[task]uint64{}}
		j.read(text)
		again.read(string(j.needed()))
		for _, what := range []op{opChanged, opUntold} {
			a, b := j.remaining(what), again.remaining(what)
			for _, images := range [][]Image{a, b} {
				slices.SortFunc(images, func(a, b Image) int { return strings.Compare(a.String(), b.String()) })
			}
			if diff := cmp.Diff(a, b); diff != "" {
				t.Error(diff)
			}
		}
	})
}
