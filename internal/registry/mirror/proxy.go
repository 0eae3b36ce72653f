package mirror

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// ProxyOptions say how a proxy serves.
type ProxyOptions struct {
	// Wait is how long a request waits at most for what is being taken in. Zero: 30 s.
	Wait time.Duration
	// StaleWait is the same where an older one is here. Zero: 3 s.
	StaleWait time.Duration
	// Again is how soon the source is asked again after it failed. Zero: 30 s.
	Again time.Duration
}

const (
	imagesAtOnce = 4      // that are taken in for one project
	maxFlights   = 256    // that wait for that
	maxSightings = 20_000 // remembered
)

// Proxy stands before a store, and brings what is asked for in projects that stand for registries
// outside. Whether what it brought may be pulled is the store's gate to say, as of all images.
type Proxy struct {
	mirror   *Mirror
	settings *settings.File
	o        ProxyOptions

	ctx    context.Context //nolint:containedctx // ends with Close: what is begun outlives who asked first
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu        sync.Mutex
	of        *settings.Settings
	projects  map[string]*project
	flights   map[string]*flight
	sightings map[string]sighting
}

// Proxy gives one for the projects that the settings say, as they say it at each request. Close
// ends what it has begun.
func (m *Mirror) Proxy(s *settings.File, o ProxyOptions) *Proxy {
	for _, d := range []struct {
		value *time.Duration
		zero  time.Duration
	}{{&o.Wait, 30 * time.Second}, {&o.StaleWait, 3 * time.Second}, {&o.Again, 30 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	p := &Proxy{
		mirror: m, settings: s, o: o,
		flights: map[string]*flight{}, sightings: map[string]sighting{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close ends what is being taken in, and waits for that.
func (p *Proxy) Close() {
	p.cancel()
	p.group.Wait()
}

// Door gives a handler that stands before the next. Whoever may not pull must not reach it.
func (p *Proxy) Door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, ok := call.Parse(r.URL.Path)
		if !ok || !call.IsRepository(to.Repository) {
			next.ServeHTTP(w, r)
			return
		}
		project := p.project(to.Repository)
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		forgets := r.Method == http.MethodDelete && to.Kind == call.KindManifest
		switch {
		case project == nil:
			next.ServeHTTP(w, r)
		case to.Kind == call.KindUpload || !reads && !forgets:
			call.Refusal{Status: http.StatusForbidden, Code: "DENIED", Message: fmt.Sprintf(
				"%s stands for %s: nobody pushes to it", project.name, project.source)}.Write(w)
		case reads && to.Kind == call.KindManifest:
			p.manifest(w, r, to, project, next)
		case reads && to.Kind == call.KindBlob:
			p.blob(w, r, to, next)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// manifest lets the store answer once it has what is asked for, as it is outside by now.
func (p *Proxy) manifest(w http.ResponseWriter, r *http.Request, to call.Endpoint, project *project, next http.Handler) {
	at, tag, ok := reference(to)
	if !ok || isAttached(tag) { // what belongs to an image came with it
		next.ServeHTTP(w, r)
		return
	}
	here, err := p.here(r.Context(), at)
	if err != nil {
		refuse(w, project, at, err)
		return
	}
	if here && tag == "" {
		next.ServeHTTP(w, r)
		return
	}
	known, fresh := p.sighting(at.String(), time.Now())
	if !fresh || !here && known.err == nil {
		known.err = p.await(r.Context(), to, project, at, tag, here)
	}
	switch {
	case r.Context().Err() != nil:
		return // nobody waits for an answer
	case known.err == nil:
	case !here && !p.came(r.Context(), at):
		refuse(w, project, at, known.err)
		return
	case tag != "":
		warn(w, project, at, known.err)
	}
	next.ServeHTTP(w, r)
}

// reference gives what an endpoint names; the tag is "" for a digest.
func reference(to call.Endpoint) (at oci.Reference, tag string, ok bool) {
	text := to.Repository + ":" + to.Reference
	if strings.Contains(to.Reference, ":") {
		text = to.Repository + "@" + to.Reference
	} else if tag = to.Reference; !isTag(tag) {
		return at, "", false
	}
	at, err := oci.Parse(text)
	return at, tag, err == nil && at.IsLocal()
}

func (p *Proxy) here(ctx context.Context, at oci.Reference) (bool, error) {
	_, err := p.mirror.o.Registries.Session().Head(ctx, at)
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	return err == nil, err
}

// came says whether something was stored all the same: judged and denied, it may be looked into by
// whom the gate lets.
func (p *Proxy) came(ctx context.Context, at oci.Reference) bool {
	here, err := p.here(ctx, at)
	return here && err == nil
}

// await brings what is asked for, together with all who ask for it, and waits for as long as a
// client does.
func (p *Proxy) await(ctx context.Context, to call.Endpoint, project *project, at oci.Reference, tag string, here bool) error {
	f, err := p.begin(at.String(), to.Repository, project, func(ctx context.Context) error {
		return p.bring(ctx, to.Repository, project, at, tag)
	})
	if err != nil {
		return err
	}
	patience := p.o.Wait
	if here {
		patience = p.o.StaleWait
	}
	clock := time.NewTimer(patience)
	defer clock.Stop()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	case <-clock.C:
	}
	if here {
		return fault.New(fault.Unavailable, project.source+" has not answered yet", "", nil)
	}
	return fault.New(fault.Unavailable, "it is on its way: ask again soon", "", nil)
}

// bring takes in what a tag or digest names outside, and lets the tag name it.
func (p *Proxy) bring(ctx context.Context, repository string, project *project, at oci.Reference, tag string) error {
	source, err := project.of(repository)
	if err != nil {
		return err
	}
	t := &take{
		mirror: p.mirror, from: project.session, to: p.mirror.o.Registries.Session(), source: source, target: at,
		verify: project.spec.Verify, evidence: true, limit: project.limit,
	}
	var digest v1.Hash
	if tag == "" {
		digest, err = v1.NewHash(at.Identifier())
	} else {
		digest, err = t.from.Head(ctx, source.Tag(tag))
	}
	if err != nil {
		return err
	}
	if tag != "" {
		if named, err := t.to.Head(ctx, at); err == nil && named == digest {
			return nil
		}
	}
	image, err := t.image(ctx, digest)
	if err != nil || tag == "" {
		return err
	}
	return t.name(ctx, image.Manifest, tag)
}

// blob lets the store answer once nothing is under way that could bring the blob: a client that
// knows a manifest already may be as fast as what brings it.
func (p *Proxy) blob(w http.ResponseWriter, r *http.Request, to call.Endpoint, next http.Handler) {
	under := p.under(to.Repository)
	if len(under) > 0 {
		if at, _, ok := reference(to); ok && !p.hasBlob(r.Context(), at) {
			p.waitForAny(r.Context(), at, under)
		}
	}
	if r.Context().Err() == nil {
		next.ServeHTTP(w, r)
	}
}

// waitForAny waits until the blob is here or nothing of its repository is under way any more.
func (p *Proxy) waitForAny(ctx context.Context, at oci.Reference, under []*flight) {
	ctx, cancel := context.WithTimeout(ctx, p.o.Wait)
	defer cancel()
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for _, f := range under {
		for done := false; !done; {
			select {
			case <-ctx.Done():
				return
			case <-f.done:
				done = true
			case <-look.C:
				if p.hasBlob(ctx, at) {
					return
				}
			}
		}
	}
}

func (p *Proxy) hasBlob(ctx context.Context, at oci.Reference) bool {
	digest, err := v1.NewHash(at.Identifier())
	if err != nil {
		return false
	}
	there, err := p.mirror.o.Registries.Session().HasBlob(ctx, at, digest)
	return there && err == nil
}

// refuse answers for what is not here and did not come.
func refuse(w http.ResponseWriter, project *project, at oci.Reference, err error) {
	refusal := call.Refusal{Status: http.StatusBadGateway, Code: "UNKNOWN", Message: at.String() + " cannot be taken in: " + project.why(err)}
	switch fault.KindOf(err) {
	case fault.NotFound:
		refusal.Status, refusal.Code = http.StatusNotFound, "MANIFEST_UNKNOWN"
	case fault.Denied:
		refusal.Status, refusal.Code = http.StatusForbidden, "DENIED"
	case fault.Unavailable, fault.Usage:
		refusal.Status, refusal.Code = http.StatusServiceUnavailable, "UNAVAILABLE"
		w.Header().Set("Retry-After", "5")
	}
	refusal.Write(w)
}

// warn says that the store's answer is not what the source has now (OCI distribution-spec 1.1,
// "Warnings").
func warn(w http.ResponseWriter, project *project, at oci.Reference, err error) {
	w.Header().Add("Warning", "299 - "+strconv.QuoteToASCII(at.String()+" may be old: "+project.why(err)))
}

// why tells clients what keeps something from being taken in. What is wrong with this site's
// settings is for its log alone.
func (p *project) why(err error) string {
	switch fault.KindOf(err) {
	case fault.NotFound:
		return p.source + " has it not, or not any more"
	case fault.Usage:
		return "the proxy is not set up rightly: its log says more"
	}
	return shortened(err.Error())
}
