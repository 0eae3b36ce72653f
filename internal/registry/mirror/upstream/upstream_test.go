package upstream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/mirror/upstream"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// quick gives a client that waits little.
func quick(o upstream.Options) *http.Client {
	o.Backoff, o.PerSecond = time.Millisecond, 10_000
	return &http.Client{Transport: upstream.New(o)}
}

func served(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// read asks and reads to the end.
func read(t *testing.T, c *http.Client, address string) (status int, body []byte, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

func TestTriesAgain(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []int // 0 cuts the connection; the last counts from then on
		want    int   // 0: an error
		asked   int32
	}{
		{"at once", []int{200}, 200, 1},
		{"after failures", []int{500, 503, 200}, 200, 3},
		{"after cuts", []int{0, 0, 200}, 200, 3},
		{"too often", []int{500}, 0, 4},
		{"cut for good", []int{0}, 0, 4},
		{"too many requests", []int{429, 200}, 200, 2},
		{"not found is an answer", []int{404}, 404, 1},
		{"so is not allowed", []int{401}, 401, 1},
		{"so is what the server never will do", []int{501}, 501, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int32
			address := served(t, func(w http.ResponseWriter, _ *http.Request) {
				answer := c.answers[min(int(asked.Add(1)), len(c.answers))-1]
				if answer == 0 {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(answer)
			})
			status, _, err := read(t, quick(upstream.Options{}), address)
			if status != c.want || (err != nil) != (c.want == 0) {
				t.Errorf("got %d, %v", status, err)
			}
			if err != nil && fault.KindOf(err) != fault.Unavailable {
				t.Errorf("got kind %v of %v", fault.KindOf(err), err)
			}
			// net/http itself tries once more on a connection that was used before.
			if got := asked.Load(); got < c.asked || got > c.asked+1 {
				t.Errorf("asked %d times, want %d", got, c.asked)
			}
		})
	}
}

func TestPostIsNotTriedAgain(t *testing.T) {
	var asked atomic.Int32
	address := served(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	resp, err := quick(upstream.Options{}).Post(address, "text/plain", strings.NewReader("once"))
	if err != nil || resp.StatusCode != 503 || asked.Load() != 1 {
		t.Errorf("got %v, %v, asked %d times", resp, err, asked.Load())
	}
	resp.Body.Close()
}

func TestAsksLater(t *testing.T) {
	var first, second atomic.Int64
	address := served(t, func(w http.ResponseWriter, _ *http.Request) {
		if first.CompareAndSwap(0, time.Now().UnixNano()) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		second.CompareAndSwap(0, time.Now().UnixNano())
	})
	if status, _, err := read(t, quick(upstream.Options{}), address); status != 200 {
		t.Fatal(status, err)
	}
	if waited := time.Duration(second.Load() - first.Load()); waited < 900*time.Millisecond {
		t.Errorf("it was asked again after %v", waited)
	}
}

// One that wants to be left alone for longer than anybody waits is, by all who would ask.
func TestAsksMuchLater(t *testing.T) {
	var asked atomic.Int32
	address := served(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	c := quick(upstream.Options{Patience: 10 * time.Millisecond})
	for range 3 {
		if _, _, err := read(t, c, address); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "asked again in 1h") {
			t.Errorf("got %v", err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestLeavesAloneWhatFails(t *testing.T) {
	var asked atomic.Int32
	var well atomic.Bool
	address := served(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if !well.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	c := quick(upstream.Options{})
	read(t, c, address)
	read(t, c, address)
	before := asked.Load()
	if _, _, err := read(t, c, address); err == nil || !strings.Contains(err.Error(), "left alone") || asked.Load() != before {
		t.Errorf("got %v, asked %d times more", err, asked.Load()-before)
	}
	well.Store(true)
	deadline := time.Now().Add(10 * time.Second)
	for {
		status, _, err := read(t, c, address)
		if status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is left alone for good: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestGoesOnWithADownload(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	for _, c := range []struct {
		name   string
		ranges bool // the server knows them
		breaks int32
		wrong  bool // it gives another part than was asked for
		whole  bool
	}{
		{"once", true, 1, false, true},
		{"often, as long as something comes", true, 12, false, true},
		{"all again", false, 1, false, true},
		{"another part", true, 1, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked, parts atomic.Int32
			address := served(t, func(w http.ResponseWriter, r *http.Request) {
				from := 0
				if header := r.Header.Get("Range"); header != "" && c.ranges {
					parts.Add(1)
					from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(header, "bytes="), "-"))
					if c.wrong {
						from -= 5
					}
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
				}
				w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
				if from > 0 {
					w.WriteHeader(http.StatusPartialContent)
				}
				if asked.Add(1) <= c.breaks {
					w.Write(content[from:min(from+20_000, len(content))])
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				}
				w.Write(content[from:])
			})
			_, got, err := read(t, quick(upstream.Options{}), address)
			if whole := err == nil && bytes.Equal(got, content); whole != c.whole {
				t.Errorf("got %d of %d bytes, %v", len(got), len(content), err)
			}
			if c.ranges && parts.Load() == 0 {
				t.Error("nothing was gone on with")
			}
		})
	}
}

func TestNoticesStalls(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(w http.ResponseWriter, stall func())
	}{
		{"before the head", func(_ http.ResponseWriter, stall func()) { stall() }},
		{"within the body", func(w http.ResponseWriter, stall func()) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("some"))
			w.(http.Flusher).Flush()
			stall()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := served(t, func(w http.ResponseWriter, r *http.Request) { c.serve(w, func() { <-r.Context().Done() }) })
			begun := time.Now()
			_, _, err := read(t, quick(upstream.Options{Stall: 30 * time.Millisecond}), address)
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "too long") {
				t.Errorf("got %v", err)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("it took %v to notice", took)
			}
		})
	}
}

// How slow all of it is does not count.
func TestSlowIsNotStalled(t *testing.T) {
	address := served(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range 10 {
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			<-tick.C
		}
	})
	if _, got, err := read(t, quick(upstream.Options{Stall: 150 * time.Millisecond}), address); string(got) != "xxxxxxxxxx" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	address := served(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quick(upstream.Options{}).Do(r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestNeverLeavesTLS(t *testing.T) {
	bare := served(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent without TLS") })
	authority, address := testbed.TLSServer(t, http.RedirectHandler(bare, http.StatusFound))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(authority))
	next := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	if _, _, err := read(t, quick(upstream.Options{Next: next}), address); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("got %v", err)
	}
}

func TestKeepsCredentials(t *testing.T) {
	var got atomic.Value
	elsewhere := served(t, func(_ http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Get("Authorization") + r.Header.Get("Cookie"))
	})
	address := served(t, http.RedirectHandler(elsewhere, http.StatusTemporaryRedirect).ServeHTTP)
	// net/http itself would send them on to another port of the same host.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer secret")
	r.Header.Set("Cookie", "secret")
	resp, err := quick(upstream.Options{}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got.Load() != "" {
		t.Errorf("another host was told %q", got.Load())
	}
}

func TestPlain(t *testing.T) {
	secret := errors.New("connection reset")
	err := &url.Error{Op: "Get", URL: "https://user:hunter2@cdn.example.com/blob?signature=hunter2", Err: &url.Error{Op: "Get", URL: "https://cdn.example.com/?hunter2", Err: secret}}
	wrapped := fault.New(fault.Unavailable, "read layer", "app", err).WithHint("try again")
	got := upstream.Plain(wrapped)
	if strings.Contains(got.Error(), "hunter2") || !strings.Contains(got.Error(), "cdn.example.com") || !strings.Contains(got.Error(), "connection reset") {
		t.Errorf("got %v", got)
	}
	if fault.KindOf(got) != fault.Unavailable || fault.HintOf(got) != "try again" {
		t.Errorf("got %v, %q", fault.KindOf(got), fault.HintOf(got))
	}
	if upstream.Plain(nil) != nil || upstream.Plain(secret) != secret {
		t.Error("what names no address was changed")
	}
}
