package plane

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site/judge"
	"plimsoll.dev/plimsoll/internal/site/served"
)

// servedRegistry is the home's registry while it is served.
type servedRegistry struct {
	address string // as this machine reaches it: "127.0.0.1:5000"
	reach   string // as nodes and pods reach it
	node    *http.Server

	over chan struct{}
	err  error

	mu    sync.Mutex
	judge *judge.Judge // nil until there are policies
}

// serve serves the home's registry. Where nobody is known who might push, nobody may: build
// steps that have this machine's network reach it like anybody, and the controllers need no door.
func (p *Plane) serve(ctx context.Context) (*servedRegistry, error) {
	r := &servedRegistry{over: make(chan struct{})}
	ready := make(chan net.Addr, 1)
	o := served.Options{Environment: p.o.Environment, Logger: p.log, Changed: p.judged, Judging: func(j *judge.Judge) {
		r.judged(j)
		if err := p.wake(ctx); err != nil {
			p.log.Warn("no Image was told that there are policies", "error", err)
		}
	}}
	o.ServeOptions = registry.ServeOptions{
		Addr: p.o.Registry, TLSCert: p.o.TLSCert, TLSKey: p.o.TLSKey, Drain: 10 * time.Second,
		Ready: func(addr net.Addr) { ready <- addr },
	}
	if _, err := p.site.Registries.Local(ctx); err != nil { // it makes the store, which one that takes no pushes does not
		return nil, err
	}
	if _, err := os.Stat(served.SettingsFile(p.site.Home)); err != nil {
		o.ReadOnly = true
		p.log.Info("the registry takes pushes from nobody but the controllers", "hint", "say who may in registry.yaml: docs/registry-access.md")
	}
	go func() {
		defer close(r.over)
		r.err = p.site.Serve(ctx, o)
	}()
	select {
	case addr := <-ready:
		r.address = addr.String()
	case <-r.over:
		return nil, r.err
	}
	r.reach = r.address
	if p.cluster == nil || !p.o.Node {
		return r, nil
	}
	return r, r.open(ctx, p)
}

// open lets the node and its pods read what is served on loopback.
func (r *servedRegistry) open(ctx context.Context, p *Plane) error {
	store, err := p.site.Registries.Local(ctx)
	if err != nil {
		return err
	}
	steps := r.steps(store)
	_, port, err := net.SplitHostPort(r.address)
	if err != nil {
		return err
	}
	r.reach = net.JoinHostPort(p.cluster.Address(), port)
	listener, err := net.Listen("tcp", r.reach)
	if err != nil {
		return fault.New(fault.Unavailable, "serve the registry to the node", r.reach, err)
	}
	scheme := "http"
	if p.o.TLSCert != "" {
		scheme = "https"
	}
	forward := &httputil.ReverseProxy{Rewrite: func(request *httputil.ProxyRequest) {
		request.SetURL(&url.URL{Scheme: scheme, Host: r.address})
		request.Out.Host = request.In.Host
	}}
	r.node = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: relay(steps, forward)}
	go func() { _ = r.node.Serve(listener) }() // it ends with Close
	return p.cluster.Trust(cluster.Registry{Host: r.reach, Plain: true})
}

// stepsContent is what nodes read of the images of steps, which they know by digest.
var stepsContent = regexp.MustCompile(`^/v2/` + stepsRepository + `/(manifests|blobs)/sha256:[0-9a-f]{64}$`)

// relay serves to nodes: the images of steps without the gate, and all else by forward, which has it.
func relay(steps, forward http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(w, "nodes and pods only read here", http.StatusMethodNotAllowed)
		case stepsContent.MatchString(r.URL.EscapedPath()): // as it was sent: the store would decode it again
			steps.ServeHTTP(w, r)
		default:
			forward.ServeHTTP(w, r)
		}
	})
}

// judged hears who keeps the verdicts.
func (r *servedRegistry) judged(j *judge.Judge) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judge = j
}

// ended has all else end when the registry does.
func (r *servedRegistry) ended(cancel context.CancelCauseFunc) {
	<-r.over
	if r.err != nil {
		cancel(r.err)
	}
}

// wait waits until nothing is served any more.
func (r *servedRegistry) wait() {
	if r.node != nil {
		_ = r.node.Close() // readers are cut off with all else
	}
	<-r.over
}
