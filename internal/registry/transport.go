package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Transport gives a RoundTripper that answers every request from this store, whatever
// host the request names. Bodies stream both ways: nothing is held whole in memory.
func (r *Registry) Transport() http.RoundTripper { return roundTripper{r.handler} }

// TransportThrough is Transport for requests that pass doors on their way, the outermost first:
// what a site lets nobody do, this process does not do either.
func (r *Registry) TransportThrough(doors ...func(next http.Handler) http.Handler) http.RoundTripper {
	handler := r.handler
	for _, door := range slices.Backward(doors) {
		handler = door(handler)
	}
	return roundTripper{handler}
}

type roundTripper struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper. The response is given once the handler has
// ended or has written more than a small body; a larger one then streams.
func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	pipe, sink := io.Pipe()
	w := &pipeWriter{header: http.Header{}, sink: sink, started: make(chan struct{})}
	served := serverRequest(ctx, req)
	// Both a handler that waits to write and a caller that waits to read must be woken
	// when the caller's context ends.
	stop := context.AfterFunc(ctx, func() { sink.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer cancel()
		defer stop()
		defer served.Body.Close()
		defer func() {
			// A handler that panics has aborted the response, as in net/http.
			if p := recover(); p != nil {
				w.abort(fmt.Errorf("registry: %v", p))
			}
		}()
		t.handler.ServeHTTP(w, served)
		w.finish()
	}()
	select {
	case <-w.started:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if w.err != nil {
		return nil, w.err
	}
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, ContentLength: contentLength(w.sent, req.Method), Request: req,
		Body: pipeBody{from: io.MultiReader(bytes.NewReader(w.held), pipe), pipe: pipe, over: req.Context().Err},
	}, nil
}

// inProcess is the address from which a request comes that no server took.
const inProcess = "in-process"

// serverRequest gives the request as a server would see it.
func serverRequest(ctx context.Context, req *http.Request) *http.Request {
	served := req.Clone(ctx)
	served.RequestURI = req.URL.RequestURI()
	served.RemoteAddr = inProcess
	if served.Host == "" {
		served.Host = req.URL.Host
	}
	if served.Body == nil {
		served.Body = http.NoBody
	}
	// net/http's server leaves this header in place, and the upload handlers read it.
	if req.ContentLength > 0 || (req.ContentLength == 0 && served.Body == http.NoBody) {
		served.Header.Set("Content-Length", strconv.FormatInt(req.ContentLength, 10))
	}
	return served
}

func contentLength(h http.Header, method string) int64 {
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil {
		if method == http.MethodHead {
			return 0
		}
		return -1
	}
	return n
}

// heldBytes is how much of a body is held back until the handler ends, as net/http's
// server does: the upload handlers still tidy up after they have written their answer,
// and the client's next request must not overtake that.
const heldBytes = 4 << 10

// pipeWriter is the http.ResponseWriter whose body is the other end of a pipe.
type pipeWriter struct {
	header  http.Header
	sink    *io.PipeWriter
	once    sync.Once
	started chan struct{} // closed once sent, held and err are final
	status  int
	sent    http.Header
	held    []byte
	flowing bool
	err     error
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if !w.flowing && len(w.held)+len(p) <= heldBytes {
		w.held = append(w.held, p...)
		return len(p), nil
	}
	w.Flush()
	return w.sink.Write(p)
}

// Flush implements http.Flusher: it gives the response to the caller.
func (w *pipeWriter) Flush() {
	w.WriteHeader(http.StatusOK)
	w.flowing = true
	w.once.Do(func() { close(w.started) })
}

func (w *pipeWriter) finish() {
	w.sink.Close()
	w.Flush()
}

func (w *pipeWriter) abort(err error) {
	w.sink.CloseWithError(err)
	w.once.Do(func() {
		w.err = err
		close(w.started)
	})
}

type pipeBody struct {
	from io.Reader
	pipe *io.PipeReader
	over func() error // says why the caller wants no more
}

// Read implements io.Reader. The handler may have written all before it was told to stop.
func (b pipeBody) Read(p []byte) (int, error) {
	if err := b.over(); err != nil {
		return 0, err
	}
	return b.from.Read(p)
}

func (b pipeBody) Close() error { return b.pipe.Close() }
