package registry

import (
	"cmp"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// record keeps a record of each request, writes one line about it, and tells those who
// listen. A line never has a query or a header: upload states, tokens and passwords travel in
// those.
func record(log *slog.Logger, heard []func(*call.Record), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &call.Record{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Client: r.RemoteAddr, Agent: cut(r.UserAgent(), 256)}
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
			rec.Client = host
		}
		rec.Endpoint, _ = call.Parse(r.URL.Path)
		t := &tracker{ResponseWriter: w}
		defer func() {
			rec.Digest = cmp.Or(rec.Digest, w.Header().Get("Docker-Content-Digest")) // of what the store answered by itself
			rec.Took, rec.Status, rec.Bytes = time.Since(rec.Time), cmp.Or(t.status, http.StatusOK), t.bytes
			log.Info("request", "method", rec.Method, "path", rec.Path, "status", rec.Status,
				"bytes", rec.Bytes, "duration", rec.Took, "user", rec.Principal)
			for _, hear := range heard {
				hear(rec)
			}
		}()
		next.ServeHTTP(t, r.WithContext(call.WithRecord(r.Context(), rec)))
	})
}

func cut(s string, most int) string { return s[:min(len(s), most)] }

// limitStalls ends a request whose body stands still, without a limit on the whole.
func limitStalls(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		clock := &stallClock{control: control}
		r.Body = &stallReader{ReadCloser: r.Body, clock: clock}
		next.ServeHTTP(&stallWriter{ResponseWriter: w, clock: clock}, r)
		// The next request on this connection starts with no deadline of ours.
		_ = control.SetReadDeadline(time.Time{})
		_ = control.SetWriteDeadline(time.Time{})
	})
}

// stallClock moves the deadlines on, at most once a second: a timer is cheap, but not
// for every 32 KiB of a fast blob.
type stallClock struct {
	control     *http.ResponseController
	read, write time.Time
}

func (c *stallClock) reading() {
	if now := time.Now(); now.Sub(c.read) > time.Second {
		c.read = now
		_ = c.control.SetReadDeadline(now.Add(stalled)) // a writer without deadlines has no connection to stall
	}
}

func (c *stallClock) writing() {
	if now := time.Now(); now.Sub(c.write) > time.Second {
		c.write = now
		_ = c.control.SetWriteDeadline(now.Add(stalled))
	}
}

type stallReader struct {
	io.ReadCloser
	clock *stallClock
}

func (r *stallReader) Read(p []byte) (int, error) {
	r.clock.reading()
	n, err := r.ReadCloser.Read(p)
	if err != nil {
		// The server reads on to notice that the client goes; that read may last.
		r.clock.read = time.Time{}
		_ = r.clock.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

type stallWriter struct {
	http.ResponseWriter
	clock *stallClock
}

func (w *stallWriter) Write(p []byte) (int, error) {
	w.clock.writing()
	return w.ResponseWriter.Write(p)
}

func (w *stallWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
