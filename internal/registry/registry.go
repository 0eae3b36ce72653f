// Package registry takes a folder (or an object store) and gives a complete OCI registry
// over it: as an http.Handler, as an http.RoundTripper for use without a server, and as a
// server with TLS, behind doors that others bring.
//
// The registry itself is the distribution project's, in process. In front of it stand the
// referrers API of OCI distribution-spec 1.1, manifest checks, the locks which let several
// processes push to one store while another collects its garbage, and short ways for what
// most requests want: to read a manifest or a blob, to store a small blob or an image of
// which all is there. They keep the same files and give the same answers.
package registry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Options says where a registry keeps its content.
type Options struct {
	// Root is the folder of the store. It is made when missing. With a Config that names
	// another storage, Root may be empty; when it is not, it still holds the locks.
	Root string
	// Config is the path of a configuration file in the distribution project's format
	// (version 0.1). Only its `storage:` part and the `secret` of its `http:` part are
	// used. Empty: the filesystem under Root.
	Config string
	// ReadOnly refuses every write with 405 and takes a store that cannot be written to.
	ReadOnly bool
	// Gate says which manifests those may pull who may not inspect a repository. Nil: all.
	Gate Gate
	// Patience is how long such a request waits to be judged before it is refused. Zero: 10 s.
	Patience time.Duration
	// Logger gets what goes wrong inside. Nil: nothing is logged.
	Logger *slog.Logger
}

// Registry is an open store. It is safe for concurrent use, and several processes may
// have one store open at a time.
type Registry struct {
	app      *handlers.App
	store    *store
	log      *slog.Logger
	handler  http.Handler
	readOnly bool
	cancel   context.CancelFunc
}

// Open opens the store, without starting a server. Errors are *fault.Error: Usage for a
// configuration that cannot be understood, NotFound for a read-only store or a bucket that
// is not there, Unavailable when an object store does not answer, Failed when the storage
// refuses or cannot be written.
func Open(ctx context.Context, o Options) (*Registry, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	config, root, err := configure(o)
	if err != nil {
		return nil, err
	}
	if err := prepare(root, o.ReadOnly); err != nil {
		return nil, err
	}
	bridgeLogs(log)
	// The registry outlives the call that opens it: only Close ends it.
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	app, err := newApp(lasting, config)
	if err != nil {
		cancel()
		return nil, err
	}
	driver, err := factory.Create(lasting, config.Storage.Type(), config.Storage.Parameters())
	if err != nil {
		cancel()
		return nil, badStorage(config, err)
	}
	if root == "" {
		if err := probe(ctx, driver, config); err != nil {
			cancel()
			return nil, err
		}
	}
	r := &Registry{app: app, log: log, readOnly: o.ReadOnly, cancel: cancel}
	r.store = &store{driver: driver, locks: newLocks(o.lockRoot(root), o.ReadOnly), readOnly: o.ReadOnly}
	if config.Storage.Type() == filesystemDriver {
		r.store.root, r.store.driver = root, folder{driver, root, newDurable(root)}
	}
	r.handler = recoverPanics(log, &front{
		next: app, store: r.store, quarantine: newQuarantine(o, r.store, log), readOnly: o.ReadOnly, log: log,
	})
	return r, nil
}

// Handler gives the whole registry API, without accounts, TLS or a request log.
func (r *Registry) Handler() http.Handler { return r.handler }

// Close ends the registry's background work. Requests under way are not waited for.
func (r *Registry) Close() error {
	err := r.app.Shutdown()
	r.cancel()
	return err
}

// lockRoot gives the folder whose locks keep pushes and collection apart, or "" when
// there is none: then only this process is kept apart from itself.
func (o Options) lockRoot(root string) string {
	if root != "" {
		return root
	}
	return o.Root
}

func prepare(root string, readOnly bool) error {
	if root == "" {
		return nil
	}
	if readOnly {
		if _, err := os.Stat(root); err != nil {
			return fault.New(fault.NotFound, "open registry", root, err).
				WithHint("name the folder of an existing store, or push an image first")
		}
		return nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fault.New(fault.Failed, "open registry", root, err).
			WithHint("choose a folder this user may write to, or open the registry read-only")
	}
	return nil
}

// newApp turns the panics, by which the distribution project reports a bad configuration,
// into errors.
func newApp(ctx context.Context, config *configuration.Configuration) (app *handlers.App, err error) {
	defer func() {
		if p := recover(); p != nil {
			app, err = nil, badStorage(config, fmt.Errorf("%v", p))
		}
	}()
	return handlers.NewApp(ctx, config), nil
}

func badStorage(config *configuration.Configuration, why error) error {
	return fault.New(fault.Failed, "open registry storage", config.Storage.Type(), why).
		WithHint("check the storage section of the registry configuration")
}
