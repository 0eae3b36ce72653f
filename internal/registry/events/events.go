// Package events takes what happens in a registry and gives it to the webhooks that want to
// know, as CloudEvents 1.0 in structured HTTP mode, signed as Standard Webhooks has it.
//
// An event is a file before anything else becomes of it, so neither a kill nor a receiver that
// does not answer loses one. What was tried for too long is kept as a dead letter, until
// somebody sends it again. Events about one image reach a webhook in their order; those about
// others do not wait for them, and no webhook waits for another.
package events

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// The types of events.
const (
	Pushed            = "dev.plimsoll.image.pushed"      // data: Image
	Pulled            = "dev.plimsoll.image.pulled"      // data: Image
	Deleted           = "dev.plimsoll.image.deleted"     // data: Image
	Quarantined       = "dev.plimsoll.image.quarantined" // data: Image, with the verdict
	Released          = "dev.plimsoll.image.released"    // data: Image, with the verdict
	VerdictChanged    = "dev.plimsoll.verdict.changed"   // data: Image, with the verdict
	ImportFailed      = "dev.plimsoll.import.failed"
	ExceptionExpiring = "dev.plimsoll.exception.expiring"
	RetentionApplied  = "dev.plimsoll.retention.applied"
	AuditCheckpoint   = "dev.plimsoll.audit.checkpoint" // data: audit.Checkpoint
)

// Event is something that happened.
type Event struct {
	Type       string
	Repository string // whose project's webhooks hear of it; "" is no repository's
	Subject    string // what it is about, such as "team/app@sha256:…"; events of one subject keep their order
	Time       time.Time
	Data       any // what encoding/json makes an object of; never a secret
}

// Image is what events about images tell.
type Image struct {
	Repository string   `json:"repository"`
	Project    string   `json:"project,omitempty"`
	Digest     string   `json:"digest,omitempty"`
	Tags       []string `json:"tags,omitempty"` // that were pushed, or removed
	MediaType  string   `json:"mediaType,omitempty"`
	Size       int64    `json:"size,omitempty"`    // of the manifest, in bytes
	Subject    string   `json:"subject,omitempty"` // digest of the manifest it is about
	Principal  string   `json:"principal,omitempty"`
	Verdict    string   `json:"verdict,omitempty"` // "allow", "warn" or "deny"
	Why        string   `json:"why,omitempty"`
	Remedy     string   `json:"remedy,omitempty"`
}

// Options of a Bus.
type Options struct {
	// Source is the events' source, a URI. Empty: the settings' external URL, else
	// "urn:plimsoll:registry".
	Source string
	// Agent is the User-Agent of requests. Empty: "plimsoll".
	Agent string
	// Getenv reads a variable. Nil: os.Getenv.
	Getenv func(string) string
	// Most is how many events wait for a webhook at most, and how many dead letters are kept
	// of each. Zero: 10,000.
	Most int
	// First is how long the first pause before another attempt is; each further one is twice
	// as long. Zero: 5 s.
	First time.Duration
	// Logger gets what goes wrong, without URLs: they may hold secrets. Nil: nothing is logged.
	Logger *slog.Logger
}

// Bus takes events. It is safe for concurrent use, and several processes may have one folder
// open: one of them delivers.
type Bus struct {
	dir string
	now func() *settings.Settings
	o   Options

	mu    sync.Mutex
	read  *settings.Settings // of which the webhooks are
	hooks []*hook
	boxes map[string]*box
}

const (
	defaultMost  = 10_000
	defaultFirst = 5 * time.Second
	// maxEvent bounds an event's text in bytes, as receivers do.
	maxEvent = 64 << 10
)

// Open opens the folder in which events wait, and makes it when it is missing. now gives the
// settings, whose webhooks hear; it may give nil. Errors are *fault.Error.
func Open(dir string, now func() *settings.Settings, o Options) (*Bus, error) {
	o.Agent, o.Most, o.First = cmp.Or(o.Agent, "plimsoll"), cmp.Or(o.Most, defaultMost), cmp.Or(o.First, defaultFirst)
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Failed, "open events", dir, err).WithHint("choose a folder this user may write to")
	}
	return &Bus{dir: dir, now: now, o: o, boxes: map[string]*box{}}, nil
}

// Hear publishes what a request did to an image.
func (b *Bus) Hear(r *call.Record) {
	if !r.OK() || r.Endpoint.Kind != call.KindManifest {
		return
	}
	e := Event{Repository: r.Endpoint.Repository, Time: r.Time, Subject: r.Endpoint.Repository + "@" + r.Digest}
	switch r.Method {
	case http.MethodPut:
		e.Type = Pushed
	case http.MethodGet:
		e.Type = Pulled
	case http.MethodDelete:
		e.Type = Deleted
	default:
		return
	}
	e.Data = Image{
		Repository: r.Endpoint.Repository, Project: b.project(r.Endpoint.Repository), Digest: r.Digest, Tags: r.Tags, MediaType: r.MediaType,
		Size: r.Size, Subject: r.Subject, Principal: r.Principal, Verdict: r.Verdict,
	}
	b.Publish(e)
}

func (b *Bus) project(repository string) string {
	if s := b.now(); s != nil {
		if p := s.ProjectOf(repository); p != nil {
			return p.Name
		}
	}
	return ""
}

// Publish keeps an event for each webhook that wants it. It is on the disk when Publish
// returns; one that cannot be kept is counted and logged.
func (b *Bus) Publish(e Event) {
	var wanted []*hook
	for _, h := range b.webhooks() {
		if h.wants(e.Type, b.project(e.Repository)) {
			wanted = append(wanted, h)
		}
	}
	if len(wanted) == 0 {
		return
	}
	l, err := b.letter(e)
	for _, h := range wanted {
		box := b.box(h.name)
		kept := err
		if kept == nil {
			kept = box.put(l)
		}
		if kept != nil {
			box.dropped.Add(1)
			b.o.Logger.Error("an event was lost", "webhook", h.name, "type", e.Type, "error", kept)
		}
	}
}

// letter writes an event down.
func (b *Bus) letter(e Event) (*letter, error) {
	e.Time = e.Time.UTC()
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	l := newLetter(e)
	c := event.New()
	c.SetID(l.ID)
	c.SetType(e.Type)
	c.SetSource(b.source())
	c.SetSubject(e.Subject)
	c.SetTime(e.Time)
	if err := c.SetData(event.ApplicationJSON, e.Data); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if len(body) > maxEvent {
		return nil, fmt.Errorf("its text has %d bytes, and may have %d", len(body), maxEvent)
	}
	l.Body = body
	return l, nil
}

func (b *Bus) source() string {
	if s := b.now(); s != nil && b.o.Source == "" && s.ExternalURL != "" {
		return s.ExternalURL
	}
	return cmp.Or(b.o.Source, "urn:plimsoll:registry")
}

// webhooks gives those of the settings as they are now.
func (b *Bus) webhooks() []*hook {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if now == b.read {
		return b.hooks
	}
	b.read, b.hooks = now, nil
	if now == nil {
		return nil
	}
	for i := range now.Webhooks {
		h, problem := newHook(now, i)
		if problem == nil {
			b.hooks = append(b.hooks, h)
			continue
		}
		b.o.Logger.Error("a webhook cannot be used", "webhook", now.Webhooks[i].Name, "error", problem)
	}
	return b.hooks
}

// box gives what waits for a webhook.
func (b *Bus) box(name string) *box {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.boxes[name] == nil {
		b.boxes[name] = newBox(b.dir, name, b.o.Most)
	}
	return b.boxes[name]
}

// Stats says how a webhook is doing.
type Stats struct {
	Webhook   string        `json:"webhook"`
	Queued    int           `json:"queued"` // events that wait
	Oldest    time.Duration `json:"-"`      // since the oldest of them came
	Dead      int           `json:"dead"`   // events that were given up, and are kept
	Delivered uint64        `json:"-"`      // by this process
	Failed    uint64        `json:"-"`      // attempts of this process
	Dropped   uint64        `json:"-"`      // events this process had no room for
}

// Stats gives how each webhook of the settings is doing.
func (b *Bus) Stats() []Stats {
	var all []Stats
	for _, h := range b.webhooks() {
		all = append(all, b.box(h.name).stats())
	}
	return all
}
