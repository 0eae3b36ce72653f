// Package upstream takes requests to registries outside and gives their answers, asked for
// with manners: it keeps to the rate a host sets, tries again what may pass, goes on with a
// download that broke, notices one that stalls, and leaves a host alone for a while that
// does not answer.
package upstream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Options says how hosts are asked.
type Options struct {
	// Next carries a request to its host. Nil: a client that lets a public registry send on to no
	// address inside this network.
	Next http.RoundTripper
	// Patience is how long one request waits at most for a host that wants to be asked later.
	// Zero: a minute.
	Patience time.Duration
	// Stall is how long an answer may go without a byte. Zero: a minute.
	Stall time.Duration
	// Backoff is the first wait before something is tried again. Zero: 500 ms.
	Backoff time.Duration
	// PerSecond bounds the requests to one host. Zero: 20.
	PerSecond float64
}

const (
	maxTries = 4 // of a request that failed in a way that may pass
	maxHosts = 256
)

// Transport is an http.RoundTripper. It is safe for concurrent use.
type Transport struct {
	o    Options
	next http.RoundTripper

	mu    sync.Mutex
	hosts map[string]*host
}

// New gives a transport that has asked nobody yet.
func New(o Options) *Transport {
	for _, d := range []struct {
		value *time.Duration
		zero  time.Duration
	}{{&o.Patience, time.Minute}, {&o.Stall, time.Minute}, {&o.Backoff, 500 * time.Millisecond}} {
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	if o.PerSecond == 0 {
		o.PerSecond = 20
	}
	t := &Transport{o: o, next: o.Next, hosts: map[string]*host{}}
	if t.next == nil {
		t.next = newDialer()
	}
	return t
}

// RoundTrip implements http.RoundTripper. Errors are *fault.Error of kind Unavailable that
// name the host and no more of the address, or the context's.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r, err := followed(r)
	if err != nil {
		return nil, err
	}
	resp, err := t.ask(r)
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodGet && resp.StatusCode == http.StatusOK {
		resp.Body = &resuming{transport: t, request: r, body: resp.Body, etag: resp.Header.Get("ETag")}
	}
	return resp, nil
}

// ask asks until there is an answer that counts.
func (t *Transport) ask(r *http.Request) (*http.Response, error) {
	h, again := t.host(r.URL.Host), r.Method == http.MethodGet || r.Method == http.MethodHead
	for try := 1; ; try++ {
		if err := h.admit(r.Context(), t.o.Patience); err != nil {
			return nil, err
		}
		resp, err := t.once(r)
		if r.Context().Err() != nil {
			h.leave()
			discard(resp)
			return nil, r.Context().Err()
		}
		passing := h.heed(resp, err)
		if !passing || !again {
			if err != nil {
				return nil, unanswered(r.URL.Host, err)
			}
			return resp, nil
		}
		discard(resp)
		if try == maxTries {
			return nil, gaveUp(r.URL.Host, resp, err)
		}
		if err := sleep(r.Context(), jittered(t.o.Backoff<<(2*(try-1)))); err != nil {
			return nil, err
		}
	}
}

var errStalled = errors.New("nothing came for too long")

// once asks once. Neither the answer's head nor any part of its body may stall.
func (t *Transport) once(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	clock := time.AfterFunc(t.o.Stall, func() { cancel(errStalled) })
	resp, err := t.next.RoundTrip(r.WithContext(ctx))
	clock.Stop()
	if err != nil {
		defer cancel(nil)
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			return nil, cause
		}
		return nil, err
	}
	resp.Body = &clocked{ReadCloser: resp.Body, clock: clock, stall: t.o.Stall, ctx: ctx, cancel: cancel}
	resp.Request = r
	return resp, nil
}

// clocked is a body that ends with errStalled when a read takes too long. How long its reader
// takes does not count.
type clocked struct {
	io.ReadCloser
	clock  *time.Timer
	stall  time.Duration
	ctx    context.Context //nolint:containedctx // of the request, which the body ends
	cancel context.CancelCauseFunc
}

func (c *clocked) Read(p []byte) (int, error) {
	c.clock.Reset(c.stall)
	n, err := c.ReadCloser.Read(p)
	c.clock.Stop()
	if err != nil && err != io.EOF && errors.Is(context.Cause(c.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (c *clocked) Close() error {
	c.clock.Stop()
	c.cancel(nil)
	return c.ReadCloser.Close()
}

func (t *Transport) host(name string) *host {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hosts[name]
	if h == nil {
		if len(t.hosts) >= maxHosts { // redirects name any number of them
			clear(t.hosts)
		}
		h = newHost(name, t.o)
		t.hosts[name] = h
	}
	return h
}

// discard drops an answer, so that its connection can be used again if little of it is left.
func discard(resp *http.Response) {
	if resp != nil {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
		resp.Body.Close()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	clock := time.NewTimer(d)
	defer clock.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-clock.C:
		return nil
	}
}

// jittered gives between half and all of a time, so that many who wait do not come at once.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

func gaveUp(host string, resp *http.Response, err error) error {
	if err != nil {
		return unanswered(host, err)
	}
	why := "it answered " + strconv.Itoa(resp.StatusCode) + ", " + strconv.Itoa(maxTries) + " times"
	return unavailable(host, errors.New(why))
}

func unanswered(host string, err error) error { return unavailable(host, text{err}) }

func unavailable(host string, why error) *fault.Error {
	return fault.New(fault.Unavailable, "ask registry", host, why).WithHint("try again later")
}

// text is an error of which only what it says is left: whoever asks for its cause would try
// again what was tried often enough.
type text struct{ error }

func (t text) Unwrap() error { return nil }

// Plain gives an error of a request without the addresses that net/http puts into its text: they
// may hold what a registry signed for one download. The host stays.
func Plain(err error) error {
	where, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	if inner, ok := errors.AsType[*fault.Error](where.Err); ok {
		return Plain(inner)
	}
	host := ""
	if at, err := url.Parse(where.URL); err == nil {
		host = at.Host
	}
	return fault.New(fault.KindOf(err), "ask registry", host, text{Plain(where.Err)}).WithHint(fault.HintOf(err))
}
