package events_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"plimsoll.dev/plimsoll/internal/registry/events"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

func TestRedirectionsAreNotFollowed(t *testing.T) {
	elsewhere := receive(t, nil)
	here := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer here.Close()
	dir := t.TempDir()
	b, _ := open(t, dir, configure(t, hook("ci", here.URL, ", retryFor: 1ms")), events.Options{})
	publish(b, "team/app", "image")
	until(t, "it is given up", func() bool { all := list(t, dir); return len(all) == 1 && all[0].Dead })
	if elsewhere.asked() > 0 {
		t.Error("what was signed for one receiver went to another")
	}
}

func TestPrivateAddressesAreRefusedWhereItIsWanted(t *testing.T) {
	r := receive(t, nil)
	dir := t.TempDir()
	b, _ := open(t, dir, configure(t,
		hook("address", r.URL, ", refusePrivate: true, retryFor: 1ms"),
		hook("name", strings.Replace(r.URL, "127.0.0.1", "localhost", 1), ", refusePrivate: true, retryFor: 1ms")), events.Options{})
	publish(b, "team/app", "image")
	until(t, "both are given up", func() bool { all := list(t, dir); return len(all) == 2 && all[0].Dead && all[1].Dead })
	if n := r.asked(); n > 0 {
		t.Errorf("it was asked %d times", n)
	}
}

// What cannot be delivered takes so much room, and no more.
func TestFullQueue(t *testing.T) {
	r := receive(t, func(int, event.Event) int { return 500 })
	dir := t.TempDir()
	b, _ := open(t, dir, configure(t, hook("ci", r.URL, ", retryFor: 1ms")), events.Options{Most: 10, First: time.Microsecond})
	for i := range 100 {
		publish(b, "team/app", fmt.Sprint("image ", i))
	}
	until(t, "all that was kept is given up", func() bool {
		all := list(t, dir)
		return len(all) == 10 && !slices.ContainsFunc(all, func(w events.Waiting) bool { return !w.Dead })
	})
	if stats := b.Stats()[0]; stats.Dropped == 0 {
		t.Errorf("%+v", stats)
	}
	b.Publish(events.Event{Type: events.Pushed, Data: strings.Repeat("x", 100_000)})
	if all := list(t, dir); len(all) != 10 {
		t.Errorf("%d letters are kept, want 10", len(all))
	}
}

// Neither addresses, which may hold a secret, nor secrets are told to anybody.
func TestNoSecretIsTold(t *testing.T) {
	var mu sync.Mutex
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(writer(func(p []byte) { mu.Lock(); defer mu.Unlock(); text.Write(p) }), nil))
	dir := t.TempDir()
	file := filepath.Join(dir, "short")
	if err := os.WriteFile(file, []byte("hush-short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const refused = "http://127.0.0.1:1/hush-path?hush=query"
	b, _ := open(t, filepath.Join(dir, "events"), configure(t,
		hook("refused", refused, ", retryFor: 1ms"),
		fmt.Sprintf("name: short, url: %q, secret: {file: %q}, retryFor: 1ms", refused, file),
		fmt.Sprintf("name: none, url: %q, secret: {env: NOTHING}, retryFor: 1ms", refused)), events.Options{Logger: log})
	publish(b, "team/app", "image")
	until(t, "all are given up", func() bool {
		all := list(t, filepath.Join(dir, "events"))
		return len(all) == 3 && !slices.ContainsFunc(all, func(w events.Waiting) bool { return !w.Dead })
	})
	told, err := json.Marshal(list(t, filepath.Join(dir, "events")))
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if all := text.String() + string(told); strings.Contains(all, "hush") || strings.Contains(all, secret) || !strings.Contains(all, "there is none") {
		t.Error(all)
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

func TestOneProcessDelivers(t *testing.T) {
	r := receive(t, nil)
	dir := t.TempDir()
	s := configure(t, hook("ci", r.URL, ""))
	first, stop := open(t, dir, s, events.Options{})
	second, _ := open(t, dir, s, events.Options{})
	for i := range 20 {
		publish(first, "team/app", fmt.Sprint("first ", i))
		publish(second, "team/app", fmt.Sprint("second ", i))
	}
	until(t, "all of both", func() bool { return len(r.subjects()) == 40 })
	stop()
	publish(first, "team/app", "late")
	until(t, "the other takes over", func() bool { return slices.Contains(r.subjects(), "late") })
}

func TestChangedSettings(t *testing.T) {
	before, after := receive(t, func(int, event.Event) int { return 500 }), receive(t, nil)
	var mu sync.Mutex
	now := configure(t, hook("ci", before.URL, ""))
	b, err := events.Open(t.TempDir(), func() *settings.Settings { mu.Lock(); defer mu.Unlock(); return now }, events.Options{Getenv: getenv, First: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = b.Deliver(ctx) })
	defer running.Wait()
	defer cancel()
	publish(b, "team/app", "image")
	until(t, "the first receiver", func() bool { return before.asked() > 0 })
	mu.Lock()
	now = configure(t, hook("ci", after.URL, ""), hook("new", after.URL, ""))
	mu.Unlock()
	publish(b, "team/app", "another")
	until(t, "the second receiver", func() bool { return len(after.subjects()) == 3 })
}

func TestWrongSettings(t *testing.T) {
	const good = "http://127.0.0.1"
	for more, want := range map[string]string{
		hook("A", good, ""):                          "line 8: spec.webhooks[0].name: want lower-case",
		hook("..", good, ""):                         "line 8: spec.webhooks[0].name: want lower-case",
		hook("a", "ftp://x", ""):                     "line 8: spec.webhooks[0].url: want http",
		hook("a", "http://me:hush@x", ""):            "line 8: spec.webhooks[0].url: it holds a password",
		"name: a, url: 'http://x', secret: {}":       "line 8: spec.webhooks[0].secret: name a file or a variable",
		hook("a", good, ", types: ['***']"):          "line 8: spec.webhooks[0].types[0]:",
		hook("a", good, ", projects: [nobodys]"):     "line 8: spec.webhooks[0].projects[0]: there is no project",
		hook("a", good, ", timeout: 1h"):             "line 8: spec.webhooks[0].timeout: want more than nothing",
		hook("a", good, ", retryFor: ever"):          "line 8: spec.webhooks[0]: want a time",
		hook("a", good, ", caFile: /nowhere/at/all"): "line 8: spec.webhooks[0].caFile:",
	} {
		if _, err := parse(more); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want %s…", more, err, want)
		}
	}
	if _, err := parse(hook("a", good, ""), hook("a", good, "")); err == nil || !strings.Contains(err.Error(), "occurs twice") {
		t.Error(err)
	}
}

const helperDir = "PLIMSOLL_EVENTS_TEST_DIR"

// TestMain also is the program that TestKilled kills.
func TestMain(m *testing.M) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := parse(hook("ci", os.Getenv("PLIMSOLL_EVENTS_TEST_URL"), ""))
	if err != nil {
		panic(err)
	}
	b, err := events.Open(dir, func() *settings.Settings { return s }, events.Options{Getenv: getenv, First: time.Millisecond})
	if err != nil {
		panic(err)
	}
	go func() { _ = b.Deliver(context.Background()) }()
	for i := 0; ; i++ {
		subject := fmt.Sprint(os.Getpid(), " ", i)
		publish(b, "team/app", subject)
		fmt.Println(subject)
	}
}

// What was published reaches its receiver, though whoever published it was killed.
func TestKilled(t *testing.T) {
	r := receive(t, func(n int, _ event.Event) int {
		if n%2 == 0 {
			return 500
		}
		return 204
	})
	dir := t.TempDir()
	var published []string
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperDir+"="+dir, "PLIMSOLL_EVENTS_TEST_URL="+r.URL)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 40 {
			if !lines.Scan() {
				t.Fatal("it ended by itself")
			}
			published = append(published, lines.Text())
		}
		cmd.Process.Kill()
		_ = cmd.Wait()
	}
	open(t, dir, configure(t, hook("ci", r.URL, "")), events.Options{})
	until(t, "all that was published", func() bool {
		got := map[string]bool{}
		for _, subject := range r.subjects() {
			got[subject] = true
		}
		return !slices.ContainsFunc(published, func(subject string) bool { return !got[subject] })
	})
}
