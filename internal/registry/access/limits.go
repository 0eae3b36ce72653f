package access

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/registry/access/limit"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

const (
	maxManifest = 4 << 20 // the store takes no larger one
	maxBlob     = 64 << 30
)

// Attempts that a wrong password may be given from one address: for one user, of whom one copy
// with a tool may ask for many tokens at once, and for all, who may be a whole office.
const (
	freeForUser    = 20
	userWithin     = time.Hour
	freeForAddress = 200
	addressWithin  = 10 * time.Minute

	// provenFor is how long one who gave the right password is not bound by what others of
	// his address do.
	provenFor = time.Hour
)

// limits are the site's, with the defaults.
type limits struct {
	perSecond, burst     int
	anonymous, anonBurst int
	uploads              int
	blob, manifest       int64
}

func limitsOf(l v1alpha1.RegistryLimits) limits {
	out := limits{
		perSecond: cmp.Or(l.Requests.PerSecond, 1000), anonymous: cmp.Or(l.Anonymous.PerSecond, 50),
		uploads: cmp.Or(l.Uploads, 64), blob: cmp.Or(l.BlobSize.Value(), maxBlob), manifest: cmp.Or(l.ManifestSize.Value(), maxManifest),
	}
	out.burst = cmp.Or(l.Requests.Burst, 10*out.perSecond)
	out.anonBurst = cmp.Or(l.Anonymous.Burst, 10*out.anonymous)
	return out
}

// address gives whence a request comes, as it is counted: of IPv6 the network, since whoever
// has one address there has as many as he likes.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap(); ip.Is6() {
		if network, err := ip.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}

// tooMany gives the refusal of one who asks too often.
func tooMany(w http.ResponseWriter, wait *mustWait) call.Refusal {
	seconds := int(math.Ceil(wait.time.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(max(1, seconds)))
	return call.Refusal{Status: http.StatusTooManyRequests, Code: "TOOMANYREQUESTS", Message: wait.why}
}

// hurried says whether the asker asks too often.
func (a *Access) hurried(rules *rules, who asker, r *http.Request) time.Duration {
	l := rules.limits
	if who.Principal() == "" {
		return a.rates.Wait("address "+address(r), l.anonymous, l.anonBurst, a.machine())
	}
	return a.rates.Wait(who.Principal(), l.perSecond, l.burst, a.machine())
}

// wrong counts wrong passwords.
type wrong struct {
	users, addresses *limit.Failures
	proven           *limit.Seen
}

func newWrong() wrong {
	return wrong{limit.NewFailures(freeForUser, userWithin), limit.NewFailures(freeForAddress, addressWithin), limit.NewSeen()}
}

// guesses are the keys under which wrong passwords are counted.
type guesses struct{ address, user string }

func guessesOf(r *http.Request, user string) guesses {
	from := address(r)
	return guesses{from, from + "\n" + strconv.Quote(user[:min(len(user), 256)])}
}

// wait says how long the next guess has to wait. One who was proven counts by himself alone:
// guesses at his password are slowed down all the same.
func (w wrong) wait(g guesses, now time.Time) time.Duration {
	wait := w.users.Wait(g.user, now)
	if !w.proven.Within(g.user, provenFor, now) {
		wait = max(wait, w.addresses.Wait(g.address, now))
	}
	return wait
}

func (w wrong) note(g guesses, now time.Time) {
	w.addresses.Note(g.address, now)
	w.users.Note(g.user, now)
}

func (w wrong) forgive(g guesses, now time.Time) {
	w.users.Forgive(g.user)
	w.proven.Note(g.user, now)
}

// bounded gives a body to next that ends with an error when it is larger than the asker may
// send, and answers 413 then. An upload's parts are added up.
func (a *Access) bounded(rules *rules, who asker, to call.Endpoint, next http.Handler, w http.ResponseWriter, r *http.Request) {
	var most int64
	switch {
	case r.Method == http.MethodPut && to.Kind == call.KindManifest:
		most = rules.limits.manifest
	case to.Kind == call.KindUpload && r.Method != http.MethodGet && r.Method != http.MethodDelete:
		release, ok := a.uploads.Take(cmp.Or(who.Principal(), address(r)), rules.limits.uploads)
		if !ok {
			refuse(w, r, tooMany(w, &mustWait{time.Second, fmt.Sprintf("more than %d uploads at once", rules.limits.uploads)}))
			return
		}
		defer release()
		most = max(0, rules.limits.blob-a.sent.Add(to.Reference, 0))
		if to.Reference == "" {
			most = rules.limits.blob
		}
	default:
		next.ServeHTTP(w, r)
		return
	}
	body := &boundedBody{ReadCloser: r.Body, left: most}
	if r.ContentLength > most {
		refuse(w, r, tooLarge)
		return
	}
	r.Body = body
	answer := &boundedAnswer{ResponseWriter: w, body: body, r: r}
	next.ServeHTTP(answer, r)
	if to.Kind == call.KindUpload {
		a.count(to, body, answer)
	}
}

// count notes what of an upload is there. One whose answer names it goes on under that name.
func (a *Access) count(to call.Endpoint, body *boundedBody, answer *boundedAnswer) {
	switch id := answer.Header().Get("Docker-Upload-UUID"); {
	case answer.status == http.StatusCreated || answer.status == http.StatusNoContent:
		a.sent.Forget(to.Reference)
	case id != "":
		a.sent.Add(id, body.read)
	case to.Reference != "":
		a.sent.Add(to.Reference, body.read)
	}
}

var (
	tooLarge    = call.Refusal{Status: http.StatusRequestEntityTooLarge, Code: "SIZE_INVALID", Message: "it is larger than this registry lets you store"}
	errTooLarge = errors.New("larger than the limit")
)

// boundedBody reads at most so many bytes.
type boundedBody struct {
	io.ReadCloser
	left, read int64
	over       bool
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.over {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more tells a body that ends here from one that does not
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		b.over = true
		n, err = int(b.left), errTooLarge
	}
	b.left -= int64(n)
	b.read += int64(n)
	return n, err
}

// boundedAnswer says why a body was cut off, whatever the next handler makes of it.
type boundedAnswer struct {
	http.ResponseWriter
	body    *boundedBody
	r       *http.Request
	status  int
	swapped bool
}

func (w *boundedAnswer) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	if status >= 200 {
		w.status = status
	}
	if w.body.over && status >= 400 {
		w.swapped = true
		w.Header().Del("Content-Length")
		refuse(w.ResponseWriter, w.r, tooLarge)
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *boundedAnswer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.swapped {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find the real one.
func (w *boundedAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
