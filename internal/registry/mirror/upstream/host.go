package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// A host that failed so often in a row is left alone, at first for so long.
const (
	breakAfter = 5
	breakFor   = time.Second
	breakMost  = 5 * time.Minute
	probeFor   = 10 * time.Second // how long one request finds out alone whether it answers again
)

// host is what is known of one: how often it may be asked, and when next.
type host struct {
	name    string
	limiter *rate.Limiter
	now     func() time.Time

	mu       sync.Mutex
	later    time.Time // when it wants to be asked again
	failures int       // in a row
	closed   time.Time // until when it is left alone
}

func newHost(name string, o Options) *host {
	return &host{name: name, limiter: rate.NewLimiter(rate.Limit(o.PerSecond), max(1, int(2*o.PerSecond))), now: time.Now}
}

// admit waits until the host may be asked.
func (h *host) admit(ctx context.Context, patience time.Duration) error {
	for {
		wait, err := h.wait(patience)
		if err != nil {
			return err
		}
		if wait == 0 {
			break
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	if err := h.limiter.Wait(ctx); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// wait gives how long to wait, at most the patience. Of those who ask when a broken host's time
// is over one finds out, and the others are refused meanwhile.
func (h *host) wait(patience time.Duration) (time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if now.Before(h.closed) {
		return 0, unavailable(h.name, fmt.Errorf("it failed %d times in a row, and is left alone for %v", h.failures, rounded(h.closed.Sub(now))))
	}
	later := h.later.Sub(now)
	if later > patience {
		return 0, unavailable(h.name, fmt.Errorf("it wants to be asked again in %v", rounded(later)))
	}
	if later > 0 {
		return jitteredAbove(later), nil
	}
	if h.failures >= breakAfter {
		h.closed = now.Add(probeFor)
	}
	return 0, nil
}

// jitteredAbove gives a little more than a time.
func jitteredAbove(d time.Duration) time.Duration { return d + jittered(d/10) }

func rounded(d time.Duration) time.Duration { return max(d.Round(time.Second), time.Second) }

// heed takes note of an answer, and says whether it is a failure that may pass.
func (h *host) heed(resp *http.Response, err error) (passing bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if resp != nil {
		if later := askLater(resp.StatusCode, resp.Header, now); later.After(h.later) {
			h.later = later
		}
	}
	switch {
	case err == nil && !slices.Contains(passingStatus, resp.StatusCode):
		h.failures, h.closed = 0, time.Time{}
		return false
	case err != nil && !isPassing(err):
		return false // of the request, or for good
	case err == nil && resp.StatusCode == http.StatusTooManyRequests:
		h.failures, h.closed = 0, time.Time{} // it answers
		return true
	}
	if h.failures++; h.failures >= breakAfter {
		h.closed = now.Add(jittered(min(breakFor<<min(h.failures-breakAfter, 20), breakMost)))
	}
	return true
}

// leave takes note that whoever asked gave up: another may find out.
func (h *host) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures >= breakAfter {
		h.closed = h.now()
	}
}

var passingStatus = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// isPassing tells failures of the network, which may be over in a moment.
func isPassing(err error) bool {
	broken, _ := errors.AsType[net.Error](err)
	return errors.Is(err, errStalled) || broken != nil && broken.Timeout() ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED)
}
