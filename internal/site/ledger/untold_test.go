package ledger

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestOutstanding: what is to be told still is what was noted last and not told since; a line that was
// torn is nobody's.
func TestOutstanding(t *testing.T) {
	for _, c := range []struct {
		name, notes string
		want        []string
	}{
		{"nothing", "", nil},
		{"all told", "+a:1\n-a:1\n", nil},
		{"one is not", "+a:1\n+b:1\n-a:1\n", []string{"b:1"}},
		{"moved again", "+a:1\n-a:1\n+a:1\n", []string{"a:1"}},
		{"torn", "+a:1\n+b", []string{"a:1", "b"}},
	} {
		if got := outstanding(strings.NewReader(c.notes)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestNotesOfTheLiving: nobody settles the notes of somebody who is at work, and they end with it.
func TestNotesOfTheLiving(t *testing.T) {
	u := &untold{folder: t.TempDir()}
	if err := u.note(moves, "a:1", "b:1"); err != nil {
		t.Fatal(err)
	}
	other := &untold{folder: u.folder}
	if err := other.open(); err != nil {
		t.Fatal(err)
	}
	if other.file.Name() == u.file.Name() {
		t.Error("two note into one file")
	}
	if mine(reopen(t, u.file.Name())) {
		t.Error("another takes the notes of somebody who lives")
	}
	name := u.file.Name()
	if err := u.file.Close(); err != nil { // as the end of a process does
		t.Fatal(err)
	}
	left := reopen(t, name)
	if !mine(left) {
		t.Error("nobody takes the notes of the dead")
	}
	if got := outstanding(left); !slices.Equal(got, []string{"a:1", "b:1"}) {
		t.Errorf("they say %q", got)
	}
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
}

func reopen(t *testing.T, name string) *os.File {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}
