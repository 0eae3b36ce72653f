package registry

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"syscall"
	"time"
)

// seen is what inner handlers tell the request log.
type seen struct{ user string }

type seenKey struct{}

// logRequests writes one line a request. It never writes a query or a header: upload
// states, tokens and passwords travel in those.
func logRequests(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		said := &seen{}
		t := &tracker{ResponseWriter: w}
		defer func() {
			status := t.status
			if status == 0 {
				status = http.StatusOK
			}
			log.Info("request", "method", r.Method, "path", r.URL.Path, "status", status,
				"bytes", t.bytes, "duration", time.Since(start), "user", said.user)
		}()
		next.ServeHTTP(t, r.WithContext(context.WithValue(r.Context(), seenKey{}, said)))
	})
}

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

func inode(info os.FileInfo) uint64 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return sys.Ino
	}
	return 0
}
