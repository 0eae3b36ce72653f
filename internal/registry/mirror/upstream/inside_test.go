package upstream

import (
	"net/http"
	"testing"
	"time"
)

func TestOnlyOutside(t *testing.T) {
	for address, want := range map[string]bool{
		"93.184.216.34:443":        true,
		"[2606:2800:220:1::1]:443": true,
		"127.0.0.1:443":            false,
		"10.1.2.3:443":             false,
		"192.168.0.1:80":           false,
		"172.16.0.1:80":            false,
		"169.254.169.254:80":       false, // a cloud's metadata
		"0.0.0.0:80":               false,
		"255.255.255.255:80":       false,
		"[::1]:80":                 false,
		"[fe80::1%eth0]:80":        false,
		"[fd00::1]:80":             false,
		"[::ffff:127.0.0.1]:80":    false,
		"224.0.0.1:80":             false,
		"nonsense":                 false,
	} {
		if got := onlyOutside("tcp", address, nil) == nil; got != want {
			t.Errorf("%s: may be asked: %v, want %v", address, got, want)
		}
	}
}

func TestAskLater(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		status int
		header map[string]string
		want   time.Duration
	}{
		{"nothing", 200, nil, 0},
		{"seconds", 429, map[string]string{"Retry-After": "90"}, 90 * time.Second},
		{"a date", 503, map[string]string{"Retry-After": "Sun, 01 Mar 2026 12:02:00 GMT"}, 2 * time.Minute},
		{"a date that is past", 503, map[string]string{"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0},
		{"too long", 429, map[string]string{"Retry-After": "99999999999"}, latest},
		{"nonsense", 429, map[string]string{"Retry-After": "-5"}, 0},
		{"only where it is refused", 200, map[string]string{"Retry-After": "90"}, 0},
		{"none left", 200, map[string]string{"RateLimit-Remaining": "0;w=21600", "RateLimit-Reset": "30"}, 30 * time.Second},
		{"some left", 200, map[string]string{"RateLimit-Remaining": "5;w=21600", "RateLimit-Reset": "30"}, 0},
		{"refused, and some left of another limit", 429, map[string]string{"RateLimit-Remaining": "5", "RateLimit-Reset": "30"}, 30 * time.Second},
		{"no time given", 200, map[string]string{"RateLimit-Remaining": "0;w=21600"}, 0},
		{"a point in time", 200, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1772366460"}, time.Minute},
		{"the draft's form", 429, map[string]string{"RateLimit": `"default";r=0;t=45`}, 45 * time.Second},
		{"its older form", 200, map[string]string{"RateLimit": "limit=100, remaining=0, reset=7"}, 7 * time.Second},
		{"Retry-After counts first", 429, map[string]string{"Retry-After": "1", "RateLimit": `"default";r=0;t=45`}, time.Second},
	} {
		header := http.Header{}
		for key, value := range c.header {
			header.Set(key, value)
		}
		var got time.Duration
		if later := askLater(c.status, header, now); !later.IsZero() {
			got = later.Sub(now)
		}
		if got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzAskLater(f *testing.F) {
	f.Add("90", "0;w=21600", "30", `"default";r=0;t=45`, 429)
	f.Add("Sun, 01 Mar 2026 12:02:00 GMT", "", "1772366460", "limit=1, remaining=0, reset=9", 503)
	f.Add("-1", "99999999999999999999", "9223372036854775807", ";;,=,r=", 200)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, after, left, reset, rate string, status int) {
		header := http.Header{"Retry-After": {after}, "Ratelimit-Remaining": {left}, "Ratelimit-Reset": {reset}, "Ratelimit": {rate}}
		later := askLater(status, header, now)
		if !later.IsZero() && (later.Before(now) || later.After(now.Add(latest))) {
			t.Errorf("ask again at %v, which is not within a day of %v", later, now)
		}
	})
}

func TestBreaker(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	h := newHost("example.com", Options{PerSecond: 1})
	h.now = func() time.Time { return now }
	fail := func() { h.heed(&http.Response{StatusCode: http.StatusBadGateway}, nil) }
	for range breakAfter - 1 {
		fail()
	}
	if _, err := h.wait(time.Minute); err != nil {
		t.Fatalf("left alone too early: %v", err)
	}
	fail()
	if _, err := h.wait(time.Minute); err == nil {
		t.Fatal("not left alone")
	}
	now = now.Add(breakFor)
	if _, err := h.wait(time.Minute); err != nil {
		t.Fatalf("nobody may find out: %v", err)
	}
	if _, err := h.wait(time.Minute); err == nil {
		t.Error("two find out at once")
	}
	h.leave()
	if _, err := h.wait(time.Minute); err != nil {
		t.Errorf("whoever found out went away, and nobody else may: %v", err)
	}
	for range 30 {
		fail()
	}
	if left := h.closed.Sub(now); left > breakMost || left < breakMost/2 {
		t.Errorf("left alone for %v", left)
	}
	h.heed(&http.Response{StatusCode: http.StatusOK}, nil)
	if _, err := h.wait(time.Minute); err != nil {
		t.Errorf("it answered, and is left alone: %v", err)
	}
}
