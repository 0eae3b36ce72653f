package ticket_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/scope"
	"plimsoll.dev/plimsoll/internal/registry/access/ticket"
)

func open(t testing.TB, folder string, now func() time.Time) *ticket.Office {
	t.Helper()
	o, err := ticket.Open(folder, now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

var full = ticket.Ticket{
	Use: ticket.Access, Service: "registry",
	Holder: ticket.Holder{Kind: ticket.Workload, Name: "ci", Issuer: "corp", Claims: map[string][]string{"ref": {"main"}}, Mark: "m"},
	Scopes: []scope.Scope{{Type: scope.Repository, Name: "team/app", Actions: []string{"pull"}}},
}

func TestTicketComesBack(t *testing.T) {
	folder, now := t.TempDir(), time.Now()
	clock := func() time.Time { return now }
	one, other := open(t, folder, clock), open(t, folder, clock) // two servers of a home
	want := full
	want.Expires = now.Add(time.Minute).Truncate(time.Second)
	text, err := one.Issue(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := other.Read(text, ticket.Access, "registry")
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(ticket.Ticket{}, "Issued", "ID")); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	again, err := one.Issue(want)
	if err != nil || again == text {
		t.Errorf("two tickets are the same: %v", err)
	}
	if _, err := open(t, t.TempDir(), clock).Read(text, ticket.Access, "registry"); err == nil {
		t.Error("another home's key is believed")
	}
	now = now.Add(2 * time.Minute)
	if _, err := other.Read(text, ticket.Access, "registry"); err != ticket.ErrExpired {
		t.Errorf("after its time: got %v", err)
	}
}

// TestOldKeysGo: nothing that a key signed is good for ever, whatever its ticket says.
func TestOldKeysGo(t *testing.T) {
	folder, now := t.TempDir(), time.Now()
	clock := func() time.Time { return now }
	o := open(t, folder, clock)
	forever := full
	forever.Expires = now.Add(10 * 365 * 24 * time.Hour)
	text, err := o.Issue(forever)
	if err != nil {
		t.Fatal(err)
	}
	for days, good := range map[int]bool{0: true, 59: true, 61: false, 3650: false} {
		began := now
		now = now.Add(time.Duration(days) * 24 * time.Hour)
		if _, err := o.Read(text, ticket.Access, "registry"); (err == nil) != good {
			t.Errorf("after %d days: got %v", days, err)
		}
		now = began
	}
}

func TestDamagedKeys(t *testing.T) {
	folder := t.TempDir()
	secret := `"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="`
	for _, text := range []string{`[{"id":"a","seed":` + secret, `[{"id":"","seed":` + secret + `}]`, `[{"id":"a","seed":"AAAA"}]`} {
		if err := os.WriteFile(filepath.Join(folder, "keys.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ticket.Open(folder, time.Now, slog.New(slog.DiscardHandler))
		if err == nil || fault.HintOf(err) == "" || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%.20s: got %v", text, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	o := open(f, f.TempDir(), time.Now)
	good := full
	good.Expires = time.Now().Add(time.Hour)
	text, err := o.Issue(good)
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.Split(text, ".")
	f.Add(text)
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add("eyJhbGciOiJub25lIn0." + parts[1] + ".")
	f.Add(`{"payload":"` + parts[1] + `"}`)
	f.Fuzz(func(t *testing.T, shown string) {
		got, err := o.Read(shown, ticket.Access, "registry")
		if err != nil {
			return
		}
		if got.Holder.Name != "ci" || strings.Split(shown, ".")[1] != parts[1] {
			t.Fatalf("believes %q", shown)
		}
	})
}
