package audit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Action is what somebody did or wanted to do.
type Action string

// The actions.
const (
	ActionPush       Action = "push"   // store a manifest
	ActionUpload     Action = "upload" // store a blob
	ActionPull       Action = "pull"   // read a manifest, a blob or referrers
	ActionDelete     Action = "delete" // remove a manifest, a tag or a blob
	ActionList       Action = "list"   // tags, or the catalog
	ActionLogin      Action = "login"  // ask for a token, or say who one is
	ActionRetention  Action = "retention"
	ActionPolicies   Action = "policies" // other policies decide what may be pulled, or a server began to; Digest is their set's
	ActionCheckpoint Action = "checkpoint"
	ActionRecovered  Action = "recovered" // what a killed writer left of a line was cut off
	ActionLost       Action = "lost"      // records could not be taken
)

// Outcome is what came of it.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused" // whoever asked may not, or not now
	Failed  Outcome = "failed"
)

// Reads says which pulls that were allowed are kept.
type Reads string

// What may be kept of pulls. Whatever is chosen, all that was refused is kept.
const (
	ReadsFirst Reads = "first" // the first pull of a manifest by its digest, for each principal and day (UTC)
	ReadsAll   Reads = "all"   // every pull of a manifest or a blob, and every list
	ReadsNone  Reads = "none"
)

// Entry is one record. Beside its time, texts are cut to 512 bytes and tags to 64.
type Entry struct {
	Sequence uint64    `json:"seq"`      // from 1, without a gap
	Previous string    `json:"previous"` // SHA-256 of the line before, in hex; 64 zeros in the first
	Time     time.Time `json:"time"`     // when the request came
	Action   Action    `json:"action"`
	Outcome  Outcome   `json:"outcome"`

	Principal  string   `json:"principal,omitempty"` // who; "" is anybody
	Client     string   `json:"client,omitempty"`    // from where: an address
	Agent      string   `json:"agent,omitempty"`
	Repository string   `json:"repository,omitempty"`
	Reference  string   `json:"reference,omitempty"` // as it was asked for: a tag or a digest
	Digest     string   `json:"digest,omitempty"`
	MediaType  string   `json:"mediaType,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	Subject    string   `json:"subject,omitempty"`
	Size       int64    `json:"size,omitempty"`
	Status     int      `json:"status,omitempty"` // of HTTP
	Verdict    string   `json:"verdict,omitempty"`
	Why        string   `json:"why,omitempty"`

	Checkpoint *Signed `json:"checkpoint,omitempty"`
}

// Signed is what a checkpoint has beside its entry.
type Signed struct {
	Key       string `json:"key,omitempty"`       // names the key
	Signature []byte `json:"signature,omitempty"` // of Checkpoint.Message
}

// Checkpoint says what a log held when it was made: all lines before the one of that
// sequence, of which the last has that hash.
type Checkpoint struct {
	Sequence  uint64    `json:"seq"`
	Previous  string    `json:"previous"`
	Time      time.Time `json:"time"`
	Key       string    `json:"key,omitempty"`
	Signature []byte    `json:"signature,omitempty"`
}

// Message is what is signed. Its first line keeps it apart from all else that a key signs.
func (c Checkpoint) Message() []byte {
	return fmt.Appendf(nil, "plimsoll audit checkpoint v1\n%d\n%s\n%s\n", c.Sequence, c.Previous, c.Time.UTC().Format(time.RFC3339Nano))
}

func (e *Entry) checkpoint() Checkpoint {
	return Checkpoint{e.Sequence, e.Previous, e.Time, e.Checkpoint.Key, e.Checkpoint.Signature}
}

const (
	maxText = 512
	maxTags = 64
	// maxLine is more than the longest entry takes when every byte of it is escaped.
	maxLine = 256 << 10
)

// bounded gives the entry with texts that came from outside cut to what a line may hold.
func (e Entry) bounded() Entry {
	for _, text := range []*string{
		(*string)(&e.Action), (*string)(&e.Outcome), &e.Principal, &e.Client, &e.Agent, &e.Repository,
		&e.Reference, &e.Digest, &e.MediaType, &e.Subject, &e.Verdict, &e.Why,
	} {
		*text = (*text)[:min(len(*text), maxText)]
	}
	e.Tags = e.Tags[:min(len(e.Tags), maxTags)]
	for i, tag := range e.Tags {
		if len(tag) > maxText {
			e.Tags = append([]string{}, e.Tags...) // they belong to whoever gave them
			e.Tags[i] = tag[:maxText]
		}
	}
	return e
}

// line gives the entry's line, with its end, and the hash that the next one names.
func (e *Entry) line() (line []byte, hash string, err error) {
	if line, err = json.Marshal(e); err != nil {
		return nil, "", err
	}
	return append(line, '\n'), hashOf(line), nil
}

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// noPrevious is what the first line names.
var noPrevious = strings.Repeat("0", 2*sha256.Size)

// of gives the entry of a request, nil for one that is not kept, and whether it must not be
// lost.
func (l *Log) of(r *call.Record) (e *Entry, must bool) {
	entry := Entry{
		Time: r.Time.UTC(), Action: actionOf(r), Outcome: outcomeOf(r), Principal: r.Principal, Client: r.Client, Agent: r.Agent,
		Repository: r.Endpoint.Repository, Reference: r.Endpoint.Reference, Digest: r.Digest, MediaType: r.MediaType,
		Tags: r.Tags, Subject: r.Subject, Size: r.Size, Status: r.Status, Verdict: r.Verdict, Why: r.Why,
	}
	if r.Endpoint.Kind == call.KindUpload {
		entry.Reference = "" // an upload's id says nothing to anybody later
	}
	entry = entry.bounded()
	switch {
	case challenge(r), r.Endpoint.Kind == call.KindOther && entry.Action != ActionLogin:
		return nil, false
	case entry.Outcome == Refused, entry.Action == ActionLogin:
		return &entry, true
	case r.Writes():
		// A blob's upload is a change when it ends, a part of it is none.
		if r.Endpoint.Kind == call.KindUpload && r.Status == http.StatusAccepted {
			return nil, false
		}
		return &entry, true
	case l.o.Reads == ReadsAll:
		return &entry, false
	case l.o.Reads == ReadsFirst && r.OK() && r.Endpoint.Kind == call.KindManifest && r.Digest != "":
		if !l.first.is(r) {
			return nil, false
		}
		return &entry, false
	}
	return nil, false
}

// challenge tells a client that was asked who it is, as every pull begins, from one that
// said it wrongly.
func challenge(r *call.Record) bool {
	return r.Status == http.StatusUnauthorized && r.Principal == "" && r.Why == ""
}

func actionOf(r *call.Record) Action {
	switch {
	case r.Path == "/token":
		return ActionLogin
	case r.Endpoint.Kind == call.KindOther:
		if r.Status == http.StatusUnauthorized {
			return ActionLogin // "/v2/" is where clients say who they are
		}
		return ActionList
	case r.Endpoint.Kind == call.KindTags, r.Endpoint.Kind == call.KindCatalog:
		return ActionList
	case !r.Writes():
		return ActionPull
	case r.Method == http.MethodDelete:
		return ActionDelete
	case r.Endpoint.Kind == call.KindUpload:
		return ActionUpload
	}
	return ActionPush
}

func outcomeOf(r *call.Record) Outcome {
	switch {
	case r.OK():
		return Done
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusForbidden, r.Status == http.StatusTooManyRequests, r.Verdict == "deny":
		return Refused
	}
	return Failed
}

// firsts knows who pulled what today. It is bounded: when it is full it begins anew, and some
// first pulls are written twice.
type firsts struct {
	mu   sync.Mutex
	day  string
	seen map[[sha256.Size]byte]struct{}
}

const maxFirsts = 1 << 16

func (f *firsts) is(r *call.Record) bool {
	key := sha256.Sum256([]byte(cmp.Or(r.Principal, r.Client) + "\x00" + r.Endpoint.Repository + "\x00" + r.Digest))
	day := r.Time.UTC().Format(time.DateOnly)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.day != day || len(f.seen) >= maxFirsts {
		f.day, f.seen = day, map[[sha256.Size]byte]struct{}{}
	}
	_, known := f.seen[key]
	f.seen[key] = struct{}{}
	return !known
}
