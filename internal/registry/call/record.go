package call

import (
	"context"
	"net/http"
	"time"
)

// Record is what one request came to. Whoever handles it notes what it learns, and those who
// listen get it once it is answered. It never holds a query, a header or a credential.
type Record struct {
	Time     time.Time // when it came
	Took     time.Duration
	Method   string
	Path     string
	Endpoint Endpoint
	Client   string // address it came from, without the port
	Agent    string // User-Agent, cut to 256 bytes

	Principal string // who asked; "" is anybody
	Status    int
	Bytes     int64 // of the answer's body

	Digest    string   // of the manifest or blob that was named or stored
	Canonical string   // of a manifest that was stored or removed, by sha256, whatever Digest is by
	MediaType string   // of the manifest
	Tags      []string // that a push let name the manifest
	Subject   string   // digest, where a manifest that was pushed or removed has one
	Size      int64    // bytes of what was stored
	Verdict   string   // what the gate said: "allow", "warn", "deny"; "" where it was not asked
	Why       string   // why it was refused, one line
}

type recordKey struct{}

// WithRecord gives a context in which that record is kept.
func WithRecord(ctx context.Context, r *Record) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

// RecordOf gives the record of a request; one that nobody reads where none is kept. Only the
// request's own goroutine may write to it.
func RecordOf(ctx context.Context) *Record {
	if r, ok := ctx.Value(recordKey{}).(*Record); ok {
		return r
	}
	return &Record{}
}

// Writes says whether the request was one that changes the store.
func (r *Record) Writes() bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// OK says whether it was done.
func (r *Record) OK() bool { return r.Status < 400 }
