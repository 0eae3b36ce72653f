package oci

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/singleflight"
)

// clients gives what the repository is read and written by. Registries that hand out
// tokens do so for each repository and right; with others a host has one client.
func (s *Session) clients(ctx context.Context, ref Reference) (reads, writes *client, err error) {
	shared, err := s.host(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	if shared.login == nil {
		return shared, shared, nil
	}
	return &client{login: shared.login, inTwo: shared.inTwo, scope: ref.Context().Scope(transport.PullScope)},
		&client{login: shared.login, inTwo: shared.inTwo, scope: ref.Context().Scope(transport.PushScope)}, nil
}

// host gives the client of the reference's registry, or the way to make one for each of
// its repositories.
func (s *Session) host(ctx context.Context, ref Reference) (*client, error) {
	name := ref.Context().RegistryStr()
	made, err, _ := s.logins.Do("host "+name, func() (any, error) {
		s.mu.Lock()
		known := s.hosts[name]
		s.mu.Unlock()
		if known != nil {
			return known, nil
		}
		c, err := s.connect(ctx, ref)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.hosts[name] = c
		s.mu.Unlock()
		return c, nil
	})
	if err != nil {
		return nil, err
	}
	return made.(*client), nil
}

// connect finds out how the registry wants to be spoken to.
func (s *Session) connect(ctx context.Context, ref Reference) (*client, error) {
	if ref.IsLocal() {
		local, err := s.registries.Local(ctx)
		if err != nil {
			return nil, err
		}
		return &client{http: &http.Client{Transport: fresh{local}, CheckRedirect: outward}, inTwo: &atomic.Bool{}}, nil
	}
	keys := s.registries.Keys
	if keys == nil {
		keys = authn.DefaultKeychain
	}
	registry := ref.Context().Registry
	key, err := authn.Resolve(ctx, keys, registry)
	if err != nil {
		return nil, err
	}
	next := transport.NewUserAgent(fresh{&guarded{next: s.registries.carrier()}}, s.registries.Agent)
	challenge, err := transport.Ping(ctx, registry, next)
	if err != nil {
		return nil, err
	}
	login := func(ctx context.Context, scope string) (*http.Client, error) {
		t, err := transport.NewWithContext(ctx, registry, key, next, []string{scope})
		if err != nil {
			return nil, err
		}
		return &http.Client{Transport: t, CheckRedirect: outward}, nil
	}
	if strings.EqualFold(challenge.Scheme, "bearer") {
		return &client{login: login, inTwo: &atomic.Bool{}}, nil
	}
	c, err := login(ctx, "")
	return &client{http: c, inTwo: &atomic.Bool{}}, err
}

// client is an http.Client that logs in when it is first used.
type client struct {
	login func(ctx context.Context, scope string) (*http.Client, error) // nil: http is there already
	scope string
	inTwo *atomic.Bool // of the whole registry: it takes no blob in one request

	mu   sync.Mutex
	http *http.Client
}

func (c *client) do(request *http.Request) (*http.Response, error) {
	c.mu.Lock()
	if c.http == nil {
		logged, err := c.login(request.Context(), c.scope)
		if err != nil {
			c.mu.Unlock()
			return nil, err
		}
		c.http = logged
	}
	c.mu.Unlock()
	return c.http.Do(request)
}

// fresh gives every try of a request a body that was not read before; a login in between
// may have read it.
type fresh struct{ next http.RoundTripper }

func (f fresh) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = body
	}
	return f.next.RoundTrip(r)
}

// outward refuses to be sent on to an address inside this network: a hostile registry
// could have it asked.
func outward(next *http.Request, via []*http.Request) error {
	from, to := via[0].URL.Hostname(), next.URL.Hostname()
	ip := net.ParseIP(to)
	if to != from && ip != nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()) {
		return bad("%s sends on to %s, an address inside this network", from, to)
	}
	if len(via) >= 10 {
		return bad("%s sends on and on", from)
	}
	return nil
}

// repository is one repository of a registry, and which blobs it is known to hold.
type repository struct {
	name          name.Repository
	reads, writes *client
	flights       singleflight.Group // of blobs on their way

	mu   sync.Mutex
	held map[string]bool // by digest, in hex
}

func (r *repository) knows(digest v1.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[digest.Hex]
}

// learn remembers blobs. It forgets all when they become many: fleets share layers, so
// the next images will tell them again.
func (r *repository) learn(blobs ...v1.Descriptor) {
	const many = 10_000
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.held) > many {
		clear(r.held)
	}
	for _, b := range blobs {
		if len(b.URLs) == 0 {
			r.held[b.Digest.Hex] = true
		}
	}
}

// request is what one asks besides method and path.
type request struct {
	accept, contentType string
	data                []byte
	limit               int64 // of the answer, in bytes; the rest is dropped
}

type answer struct {
	status int
	header http.Header
	url    *url.URL
	body   []byte
}

// do asks, and asks again when that may help. A path is below the repository.
func (r *repository) do(ctx context.Context, method, path string, q request) (a answer, err error) {
	err = retry(ctx, func() error {
		a, err = r.once(ctx, method, r.url(path), q)
		return err
	})
	return a, err
}

func (r *repository) url(path string) string {
	return r.name.Scheme() + "://" + r.name.RegistryStr() + "/v2/" + r.name.RepositoryStr() + "/" + path
}

func (r *repository) once(ctx context.Context, method, address string, q request) (answer, error) {
	out, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(q.data))
	if err != nil {
		return answer{}, err
	}
	if q.accept != "" {
		out.Header.Set("Accept", q.accept)
	}
	if q.contentType != "" {
		out.Header.Set("Content-Type", q.contentType)
	}
	return r.send(out, q.limit)
}

// send gives the whole answer, or an error if it is none of success.
func (r *repository) send(out *http.Request, limit int64) (answer, error) {
	c := r.reads
	if out.Method != http.MethodGet && out.Method != http.MethodHead {
		c = r.writes
	}
	in, err := c.do(out)
	if err != nil {
		return answer{}, err
	}
	defer in.Body.Close()
	if in.StatusCode/100 != 2 {
		return answer{status: in.StatusCode, header: in.Header}, transport.CheckError(in)
	}
	body, err := io.ReadAll(io.LimitReader(in.Body, limit+1))
	if limit > 0 && int64(len(body)) > limit {
		return answer{}, bad("the registry gave more than %d bytes", limit)
	}
	return answer{in.StatusCode, in.Header, in.Request.URL, body}, err
}

// has tells whether the blob is there.
func (r *repository) has(ctx context.Context, digest v1.Hash) (bool, error) {
	a, err := r.do(ctx, http.MethodHead, "blobs/"+digest.String(), request{})
	if a.status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// mount asks the registry to take a blob over from another repository of its own. Where
// it cannot or may not, the blob must be sent.
func (r *repository) mount(ctx context.Context, digest v1.Hash, from string) bool {
	query := url.Values{"mount": {digest.String()}, "from": {from}}
	a, err := r.once(ctx, http.MethodPost, r.url("blobs/uploads/?"+query.Encode()), request{})
	if err != nil || a.status == http.StatusCreated {
		return err == nil
	}
	r.abandon(ctx, a) // an upload was begun instead
	return false
}

// abandon ends an upload that the answer began.
func (r *repository) abandon(ctx context.Context, a answer) {
	if location, err := a.location(""); err == nil {
		_, _ = r.once(ctx, http.MethodDelete, location, request{}) // else the registry does in its time
	}
}

// smallBlob is how large a blob may be, in bytes, to be sent in one request: so much is
// sent in vain to a registry that does not take it so.
const smallBlob = 256 << 10

// upload sends a blob: in one request where it is small and the registry takes it so. A
// registry to which it came only in two is not tried with one again.
func (r *repository) upload(ctx context.Context, blob v1.Descriptor, open func() (io.ReadCloser, error)) error {
	tried := false
	return retry(ctx, func() error {
		if !tried && blob.Size <= smallBlob && !r.writes.inTwo.Load() {
			tried = true
			if done, err := r.post(ctx, blob, open); done || err != nil {
				return err
			}
		}
		err := r.put(ctx, blob, open)
		if err == nil && tried {
			r.writes.inTwo.Store(true)
		}
		return err
	})
}

// post sends a blob with the request that otherwise only begins an upload (OCI
// distribution-spec 1.1, "Single POST"). It gives false where the registry says that it
// does not take it so.
func (r *repository) post(ctx context.Context, blob v1.Descriptor, open func() (io.ReadCloser, error)) (bool, error) {
	a, err := r.sendBlob(ctx, http.MethodPost, r.url("blobs/uploads/?digest="+url.QueryEscape(blob.Digest.String())), blob, open)
	if _, refused := errors.AsType[*transport.Error](err); refused && !passing(err) {
		return false, nil
	}
	if err != nil || a.status == http.StatusCreated {
		return err == nil, err
	}
	r.abandon(ctx, a) // the content was not looked at
	return false, nil
}

// put asks where to send a blob, and sends it there.
func (r *repository) put(ctx context.Context, blob v1.Descriptor, open func() (io.ReadCloser, error)) error {
	begun, err := r.once(ctx, http.MethodPost, r.url("blobs/uploads/"), request{})
	if err != nil {
		return err
	}
	location, err := begun.location(blob.Digest.String())
	if err != nil {
		return err
	}
	_, err = r.sendBlob(ctx, http.MethodPut, location, blob, open)
	return err
}

func (r *repository) sendBlob(ctx context.Context, method, address string, blob v1.Descriptor, open func() (io.ReadCloser, error)) (answer, error) {
	out, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	out.GetBody, out.ContentLength = open, blob.Size // opened by fresh
	out.Header.Set("Content-Type", "application/octet-stream")
	return r.send(out, 0)
}

// location gives where an upload goes on, for the blob of that digest if it is the end.
func (a answer) location(digest string) (string, error) {
	next, err := a.url.Parse(a.header.Get("Location"))
	if err != nil {
		return "", bad("the registry gave no address for the upload")
	}
	if err := outward(&http.Request{URL: next}, []*http.Request{{URL: a.url}}); err != nil {
		return "", err
	}
	if digest != "" {
		query := next.Query()
		query.Set("digest", digest)
		next.RawQuery = query.Encode()
	}
	return next.String(), nil
}

// open streams a blob.
func (r *repository) open(ctx context.Context, digest v1.Hash) (io.ReadCloser, error) {
	out, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url("blobs/"+digest.String()), nil)
	if err != nil {
		return nil, err
	}
	in, err := r.reads.do(out)
	if err != nil {
		return nil, err
	}
	if in.StatusCode == http.StatusOK {
		return in.Body, nil
	}
	in.Body.Close()
	return nil, bad("the layer %s cannot be read from %s: the registry answered %d", digest, r.name.RepositoryStr(), in.StatusCode)
}

// retry calls try until it succeeds, or fails in a way that will not pass, at most four
// times within some seconds.
func retry(ctx context.Context, try func() error) error {
	for wait := 500 * time.Millisecond; ; wait *= 3 {
		err := try()
		if err == nil || !passing(err) || wait > 5*time.Second || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// passing tells failures that may be over in a moment.
func passing(err error) bool {
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		return answer.StatusCode >= 500 && answer.StatusCode != http.StatusNotImplemented ||
			answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout
	}
	broken, _ := errors.AsType[net.Error](err)
	return broken != nil && broken.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED)
}
