package upstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// latest bounds what a host may ask for.
const latest = 24 * time.Hour

// askLater gives when the host of an answer wants to be asked again, the zero time where it does
// not say: by Retry-After (RFC 9110, 10.2.3), or by how much is left of its rate and when there is
// more again (IETF draft-ietf-httpapi-ratelimit-headers, its older versions, and what was before).
func askLater(status int, header http.Header, now time.Time) time.Time {
	refused := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	if refused {
		if wait, ok := retryAfter(header.Get("Retry-After"), now); ok {
			return now.Add(bounded(wait))
		}
	}
	left, reset, ok := rateLeft(header, now)
	if ok && reset > 0 && (left <= 0 || status == http.StatusTooManyRequests) {
		return now.Add(bounded(reset))
	}
	return time.Time{}
}

func bounded(d time.Duration) time.Duration { return min(max(d, 0), latest) }

func retryAfter(value string, now time.Time) (time.Duration, bool) {
	if seconds, ok := wholeSeconds(value); ok {
		return seconds, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return at.Sub(now), true
	}
	return 0, false
}

// rateLeft gives how many requests are left, and in what time there are more.
func rateLeft(header http.Header, now time.Time) (left int, reset time.Duration, ok bool) {
	if value := header.Get("RateLimit"); value != "" {
		return rateParameters(value)
	}
	for _, prefix := range []string{"RateLimit-", "X-RateLimit-"} {
		// Some append the window: "76;w=21600".
		count, _, _ := strings.Cut(header.Get(prefix+"Remaining"), ";")
		left, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil {
			continue
		}
		value, _, _ := strings.Cut(header.Get(prefix+"Reset"), ";")
		reset, ok := wholeSeconds(value)
		if !ok {
			continue
		}
		if const2001 := time.Unix(1_000_000_000, 0); reset > time.Duration(const2001.Unix())*time.Second {
			reset = time.Unix(int64(reset/time.Second), 0).Sub(now) // it is a point in time
		}
		return left, reset, true
	}
	return 0, 0, false
}

// rateParameters reads `"default";r=50;t=30` or `limit=100, remaining=50, reset=30`; of several
// policies the first.
func rateParameters(value string) (left int, reset time.Duration, ok bool) {
	haveLeft, haveReset := false, false
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ';' || r == ',' }) {
		key, text, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "r", "remaining":
			if n, err := strconv.Atoi(text); err == nil && !haveLeft {
				left, haveLeft = n, true
			}
		case "t", "reset":
			if d, ok := wholeSeconds(text); ok && !haveReset {
				reset, haveReset = d, true
			}
		}
	}
	return left, reset, haveLeft && haveReset
}

// wholeSeconds reads a number of seconds that is no more than time can hold.
func wholeSeconds(text string) (time.Duration, bool) {
	const most = 1 << 33 // a point in time of the next centuries
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	return time.Duration(min(n, most)) * time.Second, true
}
