package events_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/events"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

const secret = "a secret that is long enough"

// receiver keeps what it got, once it has verified the signature by itself.
type receiver struct {
	*httptest.Server
	t      *testing.T
	answer func(n int, e event.Event) int // status of the n-th request; nil: 204

	mu   sync.Mutex
	asks int
	got  []event.Event
}

func receive(t *testing.T, answer func(int, event.Event) int) *receiver {
	r := &receiver{t: t, answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	id, at := req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp")
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); !slices.Contains(strings.Fields(req.Header.Get("webhook-signature")), want) {
		r.t.Errorf("signature %q, want %q", req.Header.Get("webhook-signature"), want)
	}
	e := event.New()
	if err := json.Unmarshal(body, &e); err != nil || e.Validate() != nil || e.ID() != id || req.Header.Get("Content-Type") != "application/cloudevents+json" {
		r.t.Errorf("%s is no event of id %q: %v", body, id, err)
	}
	r.mu.Lock()
	r.asks++
	n := r.asks
	r.mu.Unlock()
	status := http.StatusNoContent
	if r.answer != nil {
		status = r.answer(n, e)
	}
	if status == http.StatusNoContent {
		r.mu.Lock()
		r.got = append(r.got, e)
		r.mu.Unlock()
	}
	w.WriteHeader(status)
}

// received gives what came, in its order.
func (r *receiver) received() []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) subjects() []string {
	var all []string
	for _, e := range r.received() {
		all = append(all, e.Subject())
	}
	return all
}

func (r *receiver) asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asks
}

// configure gives settings with the webhooks, each the lines below "- name: …".
func configure(t testing.TB, hooks ...string) *settings.Settings {
	t.Helper()
	s, err := parse(hooks...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(hooks ...string) (*settings.Settings, error) {
	text := "apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec:\n  externalURL: https://registry.example.com\n  projects: [{name: team}, {name: other}]\n  webhooks:\n"
	for _, h := range hooks {
		text += "  - {" + h + "}\n"
	}
	return settings.Parse([]byte(text), "", events.Check)
}

func hook(name, url, more string) string {
	return fmt.Sprintf("name: %s, url: %q, secret: {env: SECRET}%s", name, url, more)
}

func getenv(name string) string {
	if name == "SECRET" {
		return secret + "\nan older secret that still counts"
	}
	return ""
}

// open gives a bus that delivers until the test ends, or stop is called.
func open(t *testing.T, dir string, s *settings.Settings, o events.Options) (b *events.Bus, stop func()) {
	t.Helper()
	o.Getenv = getenv
	if o.First == 0 {
		o.First = 2 * time.Millisecond
	}
	b, err := events.Open(dir, func() *settings.Settings { return s }, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := b.Deliver(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return b, stop
}

func publish(b *events.Bus, repository, subject string) {
	b.Publish(events.Event{Type: events.Pushed, Repository: repository, Subject: subject, Data: events.Image{Repository: repository}})
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come: %s", what)
		}
	}
}

func list(t *testing.T, dir string) []events.Waiting {
	t.Helper()
	all, err := events.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRequestsBecomeEvents(t *testing.T) {
	everything, pushes, team := receive(t, nil), receive(t, nil), receive(t, nil)
	b, _ := open(t, t.TempDir(), configure(t,
		hook("everything", everything.URL, ", types: ['**']"), hook("pushes", pushes.URL, ", types: [dev.plimsoll.image.pushed]"),
		hook("team", team.URL, ", projects: [team]")), events.Options{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, r := range []call.Record{
		{Method: "PUT", Status: 201, Digest: "sha256:a", Tags: []string{"v1"}, Principal: "ann", MediaType: "m", Size: 7},
		{Method: "GET", Status: 200, Digest: "sha256:a"},
		{Method: "DELETE", Status: 202, Digest: "sha256:a", Tags: []string{"v1"}},
		{Method: "PUT", Status: 403},
		{Method: "HEAD", Status: 200, Digest: "sha256:a"},
	} {
		r.Time = at
		for _, repository := range []string{"team/app", "other/app"} {
			r.Endpoint = call.Endpoint{Kind: call.KindManifest, Repository: repository, Reference: "v1"}
			b.Hear(&r)
		}
	}
	until(t, "all events", func() bool {
		return len(everything.subjects()) == 6 && len(pushes.subjects()) == 2 && len(team.subjects()) == 2
	})
	if diff := cmp.Diff([]string{"team/app@sha256:a", "team/app@sha256:a"}, team.subjects()); diff != "" {
		t.Error(diff)
	}
	var kinds []string
	for _, e := range everything.received() {
		kinds = append(kinds, e.Type())
		if e.Source() != "https://registry.example.com" || !e.Time().Equal(at) {
			t.Errorf("%s", e)
		}
	}
	slices.Sort(kinds)
	if diff := cmp.Diff([]string{events.Deleted, events.Pulled, events.Pushed}, slices.Compact(kinds)); diff != "" {
		t.Error(diff)
	}
	var image events.Image
	if err := pushes.received()[slices.Index(pushes.subjects(), "team/app@sha256:a")].DataAs(&image); err != nil {
		t.Fatal(err)
	}
	want := events.Image{Repository: "team/app", Project: "team", Digest: "sha256:a", Tags: []string{"v1"}, MediaType: "m", Size: 7, Principal: "ann"}
	if diff := cmp.Diff(want, image); diff != "" {
		t.Error(diff)
	}
}

// Whatever fails is tried again, with the same id, and what is about one image keeps its order.
func TestRetriesKeepTheOrderOfAnImage(t *testing.T) {
	var mu sync.Mutex
	ids := map[string]map[string]bool{}
	r := receive(t, func(n int, e event.Event) int {
		mu.Lock()
		defer mu.Unlock()
		var data struct{ Number string }
		_ = e.DataAs(&data)
		if ids[data.Number] == nil {
			ids[data.Number] = map[string]bool{}
		}
		ids[data.Number][e.ID()] = true
		if n%3 != 0 {
			return []int{500, 404, 429, 301, 200 + 99}[n%5]
		}
		return 204
	})
	dir := t.TempDir()
	b, _ := open(t, dir, configure(t, hook("ci", r.URL, "")), events.Options{})
	const images, each = 5, 8
	for n := range each {
		for i := range images {
			number := fmt.Sprintf("%d of %d", n, i)
			b.Publish(events.Event{Type: events.Pushed, Subject: fmt.Sprint("image ", i), Data: map[string]string{"Number": number}})
		}
	}
	until(t, "nothing waits", func() bool { return len(list(t, dir)) == 0 })
	// Status 299 is received as well, though not noted: look at ids alone for those.
	mu.Lock()
	defer mu.Unlock()
	if len(ids) != images*each {
		t.Errorf("%d events came, want %d", len(ids), images*each)
	}
	for number, of := range ids {
		if len(of) != 1 {
			t.Errorf("event %s came with ids %v", number, of)
		}
	}
	last := map[string]string{}
	for _, e := range r.received() {
		var data struct{ Number string }
		if err := e.DataAs(&data); err != nil {
			t.Fatal(err)
		}
		if data.Number < last[e.Subject()] {
			t.Errorf("%q came after %q", data.Number, last[e.Subject()])
		}
		last[e.Subject()] = data.Number
	}
	if stats := b.Stats(); stats[0].Delivered != images*each || stats[0].Failed == 0 {
		t.Errorf("%+v", stats)
	}
}

// A receiver that hangs, and an event that it never takes, hold up nobody else.
func TestSlowReceiversHoldUpNobody(t *testing.T) {
	release := make(chan struct{})
	hanging := receive(t, func(int, event.Event) int { <-release; return 204 })
	defer close(release)
	poisoned := receive(t, func(_ int, e event.Event) int {
		if e.Subject() == "poison" {
			return 500
		}
		return 204
	})
	good := receive(t, nil)
	b, _ := open(t, t.TempDir(), configure(t, hook("hanging", hanging.URL, ", timeout: 60s"), hook("poisoned", poisoned.URL, ""), hook("good", good.URL, "")), events.Options{})
	publish(b, "team/app", "poison")
	for i := range 50 {
		publish(b, "team/app", fmt.Sprint("image ", i))
	}
	until(t, "all others", func() bool { return len(good.subjects()) == 51 && len(poisoned.subjects()) == 50 })
	if n := hanging.asked(); n > 4 {
		t.Errorf("%d requests to one receiver were under way", n)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	r := receive(t, func(n int, _ event.Event) int {
		if n == 1 {
			<-release
		}
		return 204
	})
	defer close(release)
	b, _ := open(t, t.TempDir(), configure(t, hook("ci", r.URL, ", timeout: 50ms")), events.Options{})
	publish(b, "team/app", "image")
	until(t, "the second attempt", func() bool { return len(r.subjects()) == 1 })
}

func TestDeadLetters(t *testing.T) {
	var mu sync.Mutex
	status := 503
	r := receive(t, func(int, event.Event) int { mu.Lock(); defer mu.Unlock(); return status })
	dir := t.TempDir()
	b, _ := open(t, dir, configure(t, hook("ci", r.URL, ", retryFor: 20ms")), events.Options{})
	publish(b, "team/app", "one")
	publish(b, "team/app", "two")
	dead := func() bool {
		all := list(t, dir)
		return len(all) == 2 && all[0].Dead && all[1].Dead
	}
	until(t, "both are given up", dead)
	first := list(t, dir)[0]
	if first.Error != "the receiver answered 503 Service Unavailable" || first.Attempts < 1 || first.Webhook != "ci" {
		t.Errorf("%+v", first)
	}
	if n, err := events.Resend(dir, "", "no such id"); n != 0 || fault.KindOf(err) != fault.NotFound {
		t.Errorf("%d, %v", n, err)
	}
	mu.Lock()
	status = 204
	mu.Unlock()
	if n, err := events.Resend(dir, "ci", first.ID); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	until(t, "the one sent again", func() bool { return len(r.subjects()) == 1 })
	if n, err := events.Resend(dir, ""); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	until(t, "the other", func() bool { return len(r.subjects()) == 2 && len(list(t, dir)) == 0 })
}

func TestGoneIsNotTriedAgain(t *testing.T) {
	r := receive(t, func(int, event.Event) int { return 410 })
	dir := t.TempDir()
	b, _ := open(t, dir, configure(t, hook("ci", r.URL, "")), events.Options{})
	for i := range 20 {
		publish(b, "team/app", fmt.Sprint("image ", i))
	}
	until(t, "all are given up", func() bool {
		all := list(t, dir)
		return len(all) == 20 && !slices.ContainsFunc(all, func(w events.Waiting) bool { return !w.Dead })
	})
	if n := r.asked(); n > 8 {
		t.Errorf("it was asked %d times after it said it is gone", n)
	}
}
