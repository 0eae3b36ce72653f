package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/watch"
)

// ServeOptions says where and for whom a registry is served.
type ServeOptions struct {
	// Addr is the host and port to listen on. Empty: 127.0.0.1:5000.
	Addr string
	// TLSCert and TLSKey are PEM files, given both or neither. Changed files are taken up
	// by new connections.
	TLSCert, TLSKey string
	// ReadOnly refuses every write with 405.
	ReadOnly bool
	// Drain is how long requests under way may take to end once ctx has. Zero: 30 s.
	Drain time.Duration
	// Doors stand between the server and the store, the outermost first. Each takes the next.
	Doors []func(next http.Handler) http.Handler
	// Pages answers what is not the registry API: paths that do not begin with /v2/. Nil: 404.
	Pages http.Handler
	// Heard are told of each request once it is answered, by the request's own goroutine: they
	// must be quick, and keep no pointer to the record.
	Heard []func(*call.Record)
	// Ready is called once with the address listened on. It may be nil.
	Ready func(addr net.Addr)
}

const (
	defaultAddr  = "127.0.0.1:5000"
	defaultDrain = 30 * time.Second
	// stalled is how long a body may go without a byte, either way. A limit on the whole
	// would end large blobs on slow lines.
	stalled = time.Minute
)

// Check gives what Serve would fail with at once, and leaves nothing open: a server that cannot
// listen, or has no certificate, should not have opened anything for it.
func (o ServeOptions) Check(ctx context.Context) error {
	if _, err := tlsConfig(o); err != nil {
		return err
	}
	listener, err := listen(ctx, cmp.Or(o.Addr, defaultAddr))
	if err != nil {
		return err
	}
	return listener.Close()
}

// Serve answers requests until ctx ends, then waits for those under way and gives nil.
// Each request is logged: method, path, status, bytes, duration and user, never its query
// or credentials. Errors are *fault.Error.
func (r *Registry) Serve(ctx context.Context, o ServeOptions) error {
	o.Addr = cmp.Or(o.Addr, defaultAddr)
	config, err := tlsConfig(o)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, o.Addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           r.served(o),
		TLSConfig:         config,
		ReadHeaderTimeout: 15 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	if o.Ready != nil {
		o.Ready(listener.Addr())
	}
	ended := make(chan error, 1)
	go func() {
		if config != nil {
			ended <- server.ServeTLS(listener, "", "")
			return
		}
		ended <- server.Serve(listener)
	}()
	select {
	case err := <-ended:
		return fault.New(fault.Failed, "serve registry", o.Addr, err)
	case <-ctx.Done():
	}
	return drain(server, o.Drain)
}

func drain(server *http.Server, limit time.Duration) error {
	if limit == 0 {
		limit = defaultDrain
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		server.Close()
		return fault.New(fault.Failed, "stop registry", "", err).
			WithHint("requests under way were cut off; allow them more time to end")
	}
	return nil
}

// served gives what a server adds to the API, from the outside in: the request log,
// /healthz, limits on stalled bodies, the doors and read-only mode.
func (r *Registry) served(o ServeOptions) http.Handler {
	handler := r.handler
	if o.ReadOnly && !r.readOnly {
		handler = refuseWrites(handler)
	}
	for _, door := range slices.Backward(o.Doors) {
		handler = door(handler)
	}
	return record(r.log, o.Heard, r.health(limitStalls(apart(handler, o.Pages))))
}

// apart lets pages answer what is not the registry API.
func apart(api, pages http.Handler) http.Handler {
	if pages == nil {
		return api
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/") {
			api.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

// health answers /healthz: 200 when the store can be read.
func (r *Registry) health(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/healthz" {
			next.ServeHTTP(w, req)
			return
		}
		if _, err := r.store.driver.Stat(req.Context(), "/"); err != nil && !isMissing(err) {
			r.log.Error("registry store cannot be read", "error", err)
			http.Error(w, "the store cannot be read", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("ok\n"))
	})
}

func refuseWrites(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, ok := call.Parse(r.URL.Path)
		if r.Method != http.MethodGet && r.Method != http.MethodHead || ok && to.Kind == "uploads" {
			call.Refusal{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED", Message: "the registry is read-only"}.Write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.Failed, "listen", addr, syscall.EADDRINUSE).
			WithHint("another program listens there: stop it, or choose another address")
	case errors.Is(err, syscall.EACCES):
		return nil, fault.New(fault.Failed, "listen", addr, syscall.EACCES).
			WithHint("ports below 1024 need privileges: choose a higher one")
	}
	return nil, fault.New(fault.Usage, "listen", addr, err).
		WithHint("give the address as host:port, such as " + defaultAddr)
}

func tlsConfig(o ServeOptions) (*tls.Config, error) {
	if o.TLSCert == "" && o.TLSKey == "" {
		return nil, nil
	}
	if o.TLSCert == "" || o.TLSKey == "" {
		return nil, fault.Newf(fault.Usage, "read TLS certificate", o.TLSCert+o.TLSKey,
			"certificate and key belong together").WithHint("give both --tls-cert and --tls-key")
	}
	files := watch.New(func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
		return &cert, err
	}, o.TLSCert, o.TLSKey)
	if _, err := files.Get(); err != nil {
		hint := "give PEM files: the certificate with its chain, and its unencrypted key"
		if errors.Is(err, os.ErrNotExist) {
			hint = "check the paths of --tls-cert and --tls-key"
		}
		return nil, fault.New(fault.Usage, "read TLS certificate", o.TLSCert, err).WithHint(hint)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := files.Get()
			if cert != nil {
				return cert, nil // a half-written new pair must not stop the old one
			}
			return nil, err
		},
	}, nil
}
