package robot

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

const day = 24 * time.Hour

func open(t *testing.T, folder string, now func() time.Time) *Book {
	t.Helper()
	b, err := Open(folder, now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ci(allow ...call.Action) Robot { return Robot{Project: "team/app", Name: "ci", Allow: allow} }

func TestLifeOfARobot(t *testing.T) {
	folder, now := t.TempDir(), time.Now()
	clock := func() time.Time { return now }
	writer, reader := open(t, folder, clock), open(t, folder, clock) // as two programs
	made, secret, err := writer.Create(t.Context(), ci(call.ActionPull), 30*day)
	if err != nil {
		t.Fatal(err)
	}
	if made.User() != "robot+team/app/ci" || len(secret) < 43 {
		t.Errorf("made %q with a secret of %d characters", made.User(), len(secret))
	}
	check := func(secret string, good bool, when string) {
		t.Helper()
		found, mark := reader.Check("team/app/ci", secret)
		if (found != nil) != good || (mark != "") != good {
			t.Errorf("%s: got %v", when, found)
		}
	}
	check(secret, true, "a new robot")
	check(secret+"x", false, "a longer secret")
	check("", false, "no secret")
	check(made.Hash, false, "the hash")
	text, err := os.ReadFile(filepath.Join(folder, "robots.json"))
	if err != nil || strings.Contains(string(text), secret) {
		t.Errorf("the secret is on the disk, or nothing is: %v", err)
	}
	if info, err := os.Stat(filepath.Join(folder, "robots.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v %v", info.Mode(), err)
	}
	_, next, err := writer.Renew(t.Context(), "team/app/ci", 30*day, 60*day)
	if err != nil {
		t.Fatal(err)
	}
	check(secret, true, "the old secret")
	check(next, true, "the new one")
	now = now.Add(30*day + time.Second)
	check(secret, false, "the old secret after the robot's old end, whatever the overlap")
	check(next, false, "an expired robot")
	if _, next, err = writer.Renew(t.Context(), "team/app/ci", day, day); err != nil {
		t.Fatal(err)
	}
	check(next, true, "renewed")
	if reader.Find("team/app/ci").Previous != nil {
		t.Error("the secret of an expired robot is good again")
	}
	if err := writer.Remove(t.Context(), "team/app/ci"); err != nil {
		t.Fatal(err)
	}
	check(next, false, "removed")
}

func TestRobotsThatAreRefused(t *testing.T) {
	b := open(t, t.TempDir(), time.Now)
	if _, _, err := b.Create(t.Context(), ci(call.ActionPull), day); err != nil {
		t.Fatal(err)
	}
	other := func(edit func(*Robot)) Robot {
		r := ci(call.ActionPull)
		r.Name = "other"
		edit(&r)
		return r
	}
	for name, c := range map[string]struct {
		robot  Robot
		period time.Duration
	}{
		"there already":                {ci(call.ActionPull), day},
		"no end":                       {other(func(*Robot) {}), 0},
		"more than a year":             {other(func(*Robot) {}), 400 * day},
		"nothing allowed":              {other(func(r *Robot) { r.Allow = nil }), day},
		"an admin":                     {other(func(r *Robot) { r.Allow = []call.Action{call.ActionAdmin} }), day},
		"an approver":                  {other(func(r *Robot) { r.Allow = []call.Action{call.ActionApprove} }), day},
		"no project":                   {other(func(r *Robot) { r.Project = "" }), day},
		"a project of dots":            {other(func(r *Robot) { r.Project = "team/.." }), day},
		"a name with +":                {other(func(r *Robot) { r.Name = "a+b" }), day},
		"an empty pattern":             {other(func(r *Robot) { r.Repositories = []string{""} }), day},
		"a pattern of another project": {other(func(r *Robot) { r.Repositories = []string{r.Project + "/web", "app*"} }), day},
	} {
		if _, secret, err := b.Create(t.Context(), c.robot, c.period); fault.KindOf(err) != fault.Usage || err == nil || secret != "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, _, err := b.Renew(t.Context(), "team/app/ci", 0, 0); fault.KindOf(err) != fault.Usage || b.Find("team/app/ci").Expires.Before(time.Now()) {
		t.Errorf("renewed without an end: %v", err)
	}
	for _, err := range []error{b.Remove(t.Context(), "team/none"), func() error { _, _, err := b.Renew(t.Context(), "team/none", day, 0); return err }()} {
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("one that is not there: got %v", err)
		}
	}
}

func TestReaches(t *testing.T) {
	for text, want := range map[string]bool{
		"shop": true, "shop/web": true, "shop/*": true, "shop*": true, "*": true, "**": true, "**/web": true, "*/web": true, "sh**/x": true, "s*p/x": true,
		"shopping": false, "app*": false, "sho*x": false, "shop-*": false, "web": false, "hub/**": false, "*/": true,
	} {
		if got := reaches(text, "shop"); got != want {
			t.Errorf("%q: got %t", text, got)
		}
	}
}

// TestManyWriters: nobody's change is lost.
func TestManyWriters(t *testing.T) {
	folder := t.TempDir()
	var work sync.WaitGroup
	for w := range 4 {
		b := open(t, folder, time.Now)
		work.Go(func() {
			for i := range 10 {
				r := Robot{Project: "team", Name: fmt.Sprintf("r%d-%d", w, i), Allow: []call.Action{call.ActionPull}}
				if _, _, err := b.Create(context.Background(), r, day); err != nil {
					t.Error(err)
				}
				b.Note(r.Full())
			}
		})
	}
	work.Wait()
	list, err := open(t, folder, time.Now).List()
	if err != nil || len(list) != 40 {
		t.Fatalf("%d robots are there, %v", len(list), err)
	}
	for _, r := range list {
		if r.Used.IsZero() {
			t.Errorf("nobody knows that %s was used", r.Full())
		}
	}
}

// TestDamagedFile keeps what was read before, and is told.
func TestDamagedFile(t *testing.T) {
	folder := t.TempDir()
	b := open(t, folder, time.Now)
	_, secret, err := b.Create(t.Context(), ci(call.ActionPull), day)
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := b.Check("team/app/ci", secret); found == nil {
		t.Fatal("the robot is not known")
	}
	if err := os.WriteFile(filepath.Join(folder, "robots.json"), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, _ := b.Check("team/app/ci", secret); found == nil {
		t.Error("a damaged file locks everybody out")
	}
	if _, err := Open(folder, time.Now, slog.New(slog.DiscardHandler)); fault.HintOf(err) == "" {
		t.Errorf("a damaged file: got %v", err)
	}
	if _, _, err := b.Create(t.Context(), Robot{Project: "team", Name: "x", Allow: []call.Action{call.ActionPull}}, day); err == nil {
		t.Error("a damaged file is written over")
	}
}

func FuzzRobots(f *testing.F) {
	f.Add([]byte(`[{"project":"team","name":"ci","allow":["pull"],"hash":"` + strings.Repeat("0", 64) + `"}]`))
	f.Add([]byte(`[null]`))
	f.Add([]byte(`[{"project":"team","name":"ci","repositories":["***"]}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		robots, err := parse(text)
		if err != nil {
			return
		}
		for full, r := range robots {
			if full != r.Full() || len(r.Allow) == 0 || r.Allows(call.ActionAdmin) || r.Mark("", time.Time{}) != "" {
				t.Fatalf("took %q: %+v", full, r)
			}
		}
	})
}
