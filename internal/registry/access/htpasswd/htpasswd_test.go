package htpasswd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// TestUnknownUsersTakeAsLong compares the time for users who are there with that for others,
// each the median of some: guessing names must not pay.
func TestUnknownUsersTakeAsLong(t *testing.T) {
	var text string
	for i := range 3 {
		hash, err := bcrypt.GenerateFromPassword(fmt.Append(nil, "secret", i), 8)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("user%d:%s\n", i, hash)
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var known, unknown []time.Duration
	for i := range 15 { // in turns, so that a busy machine slows both
		for name, into := range map[string]*[]time.Duration{fmt.Sprintf("user%d", i%3): &known, fmt.Sprintf("other%d", i): &unknown} {
			began := time.Now()
			if f.Check(context.Background(), name, "wrong") {
				t.Fatalf("%s got in", name)
			}
			*into = append(*into, time.Since(began))
		}
	}
	slices.Sort(known)
	slices.Sort(unknown)
	if a, b := known[len(known)/2], unknown[len(unknown)/2]; a > 2*b || b > 2*a {
		t.Errorf("a known user takes %s, an unknown one %s", a, b)
	}
}

func TestMarkTellsPasswordsApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	write := func(password string) {
		t.Helper()
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".new", append([]byte("ann:"), append(hash, '\n')...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	f, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first := f.Mark("ann")
	write("two")
	if second := f.Mark("ann"); first == "" || second == "" || first == second {
		t.Errorf("marks are %q and %q", first, second)
	}
	if f.Mark("bob") != "" {
		t.Error("nobody has a mark")
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add([]byte("ann:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n# x\n\n"))
	f.Add([]byte("ann"))
	f.Add([]byte(":x"))
	f.Fuzz(func(t *testing.T, content []byte) {
		list, err := parse(content)
		if err != nil {
			return
		}
		for user, hash := range list.hashes {
			if user == "" || len(hash) != 60 {
				t.Fatalf("took user %q with hash %q", user, hash)
			}
		}
	})
}
