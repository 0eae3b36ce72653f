package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	// checkWithin is how long all checks together may take.
	checkWithin = 2 * time.Second
	// checkedFor is how long what was found is told again: whoever asks often must not
	// keep the checks busy.
	checkedFor = time.Second
)

// readiness answers /readyz: 200 when every check passes, else 503 with a line a check. What
// is wrong is for the log: the page is for everybody.
type readiness struct {
	probes []Probe
	log    *slog.Logger

	mu    sync.Mutex
	at    time.Time
	ready bool
	text  []byte
}

// ServeHTTP implements http.Handler.
func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	ready, text := r.look()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	w.Write(text)
}

// look gives what the checks say, or said a moment ago.
func (r *readiness) look() (bool, []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) < checkedFor && r.text != nil {
		return r.ready, r.text
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkWithin)
	defer cancel()
	found := make([]chan error, len(r.probes))
	for i, c := range r.probes {
		found[i] = make(chan error, 1)
		go func() { found[i] <- c.Check(ctx) }()
	}
	var text bytes.Buffer
	ready := true
	for i, c := range r.probes {
		err := errors.New("it did not answer in time")
		select {
		case err = <-found[i]:
		case <-ctx.Done():
		}
		if err == nil {
			fmt.Fprintf(&text, "ok %s\n", c.Name)
			continue
		}
		ready = false
		fmt.Fprintf(&text, "not ready: %s\n", c.Name)
		r.log.Error("the registry is not ready", "check", c.Name, "error", err)
	}
	if ready {
		text.WriteString("ready\n")
	}
	r.at, r.ready, r.text = time.Now(), ready, text.Bytes()
	return r.ready, r.text
}
