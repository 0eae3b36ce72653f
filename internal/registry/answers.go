package registry

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// broken answers for a store that failed. The cause goes to the log, not to the client.
func broken(w http.ResponseWriter, log *slog.Logger, err error) {
	log.Error("registry storage failed", "error", err)
	call.Refusal{Status: http.StatusInternalServerError, Code: "UNKNOWN", Message: "the store failed"}.Write(w)
}

// storeFault gives the fault for a store that failed under a command.
func storeFault(what, which string, err error) error {
	if err == nil {
		return nil
	}
	if errors.As(err, new(*fault.Error)) {
		return err
	}
	if f := objectStoreFault(what, which, err); f != nil {
		return f
	}
	return fault.New(fault.Failed, what, which, err)
}

// recoverPanics answers 500 where the next handler panics. One that has begun its answer
// must go on panicking: only so does the client see that the answer is cut short.
func recoverPanics(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tracked := &tracker{ResponseWriter: w}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			log.Error("registry handler panicked", "panic", p, "stack", string(debug.Stack()))
			if tracked.status != 0 {
				panic(http.ErrAbortHandler)
			}
			call.Refusal{Status: http.StatusInternalServerError, Code: "UNKNOWN", Message: "the registry failed"}.Write(w)
		}()
		next.ServeHTTP(tracked, r)
	})
}

// tracker notes what was answered.
type tracker struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (t *tracker) WriteHeader(status int) {
	if t.status == 0 && status >= 200 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracker) Write(p []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	n, err := t.ResponseWriter.Write(p)
	t.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController and the writers above find the real one.
func (t *tracker) Unwrap() http.ResponseWriter { return t.ResponseWriter }
