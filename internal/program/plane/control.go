package plane

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/advisoryfeed"
	"plimsoll.dev/plimsoll/internal/controller/archives"
	"plimsoll.dev/plimsoll/internal/controller/baseimage"
	"plimsoll.dev/plimsoll/internal/controller/builder"
	"plimsoll.dev/plimsoll/internal/controller/dependencyoverride"
	"plimsoll.dev/plimsoll/internal/controller/figures"
	"plimsoll.dev/plimsoll/internal/controller/imageimport"
	"plimsoll.dev/plimsoll/internal/controller/imagepolicy"
	"plimsoll.dev/plimsoll/internal/controller/leader"
	"plimsoll.dev/plimsoll/internal/controller/policies"
	"plimsoll.dev/plimsoll/internal/controller/policyexception"
	"plimsoll.dev/plimsoll/internal/fault"
)

// control runs the controllers until ctx ends. ready hears when they do, with the address of the
// page of links.
func (p *Plane) control(ctx context.Context, cancel context.CancelCauseFunc, ready func(page string)) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300) // a fleet under way is mostly garbage, and giveBack gives back what that took
	}
	go giveBack(ctx)
	if !p.o.NoDefinitions {
		c, err := client.New(p.target, client.Options{Scheme: bootScheme()})
		if err != nil {
			return fault.New(fault.Unavailable, "reach the cluster", p.target.Host, err)
		}
		if err := declare(ctx, c); err != nil {
			return err
		}
		if p.cluster != nil {
			if err := letReadLogs(ctx, c); err != nil {
				return fault.New(fault.Failed, "declare who may read logs", "", err)
			}
		}
	}
	o := controller.Options{Log: slog.New(quiet{p.log.Handler()}), Metrics: p.o.Metrics, Health: p.o.Health}
	if p.o.Leader != "" {
		if err := p.contend(); err != nil {
			return err
		}
		o.Leader = p.lease
	}
	mgr, err := controller.New(p.target, o)
	if err != nil {
		return err
	}
	counter := figures.NewCounter(mgr.GetCache(), p.unlisted)
	measure := figures.NewMetrics(counter)
	if err := metrics.Registry.Register(measure); err != nil {
		return fault.New(fault.Failed, "register metrics", "", err)
	}
	defer metrics.Registry.Unregister(measure)
	kept, err := p.site.Caches()
	if err != nil {
		return err
	}
	var bounding sync.WaitGroup
	ctx, end := context.WithCancel(ctx)
	defer func() { end(); bounding.Wait() }()
	bounding.Go(func() { p.boundCaches(ctx, kept, measure) })
	pages, err := p.setUp(ctx, mgr, measure)
	if err != nil {
		return err
	}
	address, err := p.show(ctx, cancel, p.links(time.Now(), counter), pages)
	if err != nil {
		return err
	}
	if p.cluster != nil {
		if err := aside.WriteBytes(p.site.Path("kubernetes", pageFile), []byte(address+"\n")); err != nil {
			return fault.New(fault.Failed, "write where the page is", "", err)
		}
	}
	go func() {
		if mgr.GetCache().WaitForCacheSync(ctx) {
			ready(address)
		}
	}()
	if err := mgr.Start(ctx); err != nil {
		return fault.New(fault.Failed, "run the controllers", "", err)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// contend gives the plane the lease that its replicas contend for.
func (p *Plane) contend() error {
	address, err := leader.Join(p.o.Advertise, p.o.Page)
	if err == nil {
		p.lease, err = leader.New(p.target, p.o.Leader, address)
	}
	return err
}

// leaders has the replica that leads answer, where there are several: logs lie on its disk, and it
// alone asks sources.
func (p *Plane) leaders(mgr ctrl.Manager, own http.Handler) http.Handler {
	if p.lease == nil {
		return own
	}
	return leader.Handler(p.lease, mgr.Elected(), own)
}

// setUp adds all reconcilers to the manager. It gives what they serve, by path.
func (p *Plane) setUp(ctx context.Context, mgr ctrl.Manager, measure *figures.Metrics) (map[string]http.Handler, error) {
	parts, err := p.parts()
	if err != nil {
		return nil, err
	}
	if err := p.registry().Setup(mgr); err != nil {
		return nil, err
	}
	folder := policies.New(p.site.PolicyFolder())
	watch := archives.New(archives.Options{State: p.site.Path("archives"), Agent: p.site.Agent(), Log: p.log})
	for _, set := range []func() error{
		func() error { return baseimage.Setup(mgr, bases{p}, baseimage.Options{Parts: parts, Archives: watch}) },
		func() error { return builder.Setup(mgr, makers{p}, builder.Options{Parts: parts}) },
		func() error { return imagepolicy.Setup(mgr, folder) },
		func() error { return policyexception.Setup(mgr, folder) },
		func() error { return imageimport.Setup(mgr, runs{p}, imageimport.Options{Dir: p.site.Path("imports")}) },
		func() error {
			return advisoryfeed.Setup(mgr, &syncer{Plane: p, changed: p.fed}, advisoryfeed.Options{File: p.site.FeedsFile()})
		},
		func() error {
			return dependencyoverride.Setup(mgr, counter{p}, dependencyoverride.Options{Dir: p.site.Path("overrides")})
		},
	} {
		if err := set(); err != nil {
			return nil, fault.New(fault.Failed, "set up the controllers", "", err)
		}
	}
	return p.setUpImages(ctx, mgr, measure)
}

// parts gives the folder below which Builders name their lifecycle and buildpacks.
func (p *Plane) parts() (string, error) {
	if p.o.Parts != "" {
		return filepath.Abs(p.o.Parts)
	}
	own, err := os.Executable()
	return filepath.Dir(own), err
}

// pageFile says in the folder of the home's cluster where its page is.
const pageFile = "page"

// show serves the page of links, and beside it the pages that controllers have. It ends with ctx.
func (p *Plane) show(ctx context.Context, cancel context.CancelCauseFunc, of links, pages map[string]http.Handler) (string, error) {
	listener, err := net.Listen("tcp", p.o.Page)
	if err != nil {
		return "", fault.New(fault.Unavailable, "serve the page of links", p.o.Page, err).WithHint("take another address with --page; port 0 is a free one")
	}
	address := "http://" + listener.Addr().String() + "/"
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", of)
	for path, handler := range pages {
		mux.Handle(path, handler)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cancel(fault.New(fault.Failed, "serve the page of links", p.o.Page, err))
		}
	}()
	return address, nil
}

// state is what a person is told once all runs.
func (p *Plane) state(page string, took time.Duration) cli.UpState {
	s := cli.UpState{API: p.target.Host, Page: page, Took: took, Kubeconfig: p.o.Kubeconfig}
	if p.cluster != nil {
		s.Kubeconfig = p.cluster.Kubeconfig()
	}
	if p.served != nil {
		s.Registry = p.served.reach
	}
	return s
}

// links is the page of links.
func (p *Plane) links(since time.Time, counter *figures.Counter) links {
	l := links{Version: "plimsoll " + p.site.Version, Since: since, count: counter.Count, names: p.cluster != nil}
	add := func(name, text, url string) { l.Parts = append(l.Parts, part{name, text, url}) }
	add("Kubernetes API", p.target.Host, p.target.Host+"/version")
	if p.served != nil {
		scheme := "http://"
		if p.o.TLSCert != "" {
			scheme = "https://"
		}
		add("Registry", p.served.reach, scheme+p.served.address+"/v2/_catalog")
		add("", "how it does", scheme+p.served.address+"/metrics")
	} else {
		add("Published to", p.o.Publish, "")
	}
	if p.cluster != nil {
		for _, each := range p.cluster.Parts() {
			add("", each.Name+", log: "+each.Log, "")
		}
		l.Commands = append(l.Commands, "export KUBECONFIG="+p.cluster.Kubeconfig())
	}
	l.Commands = append(l.Commands,
		"plimsoll kubectl get baseimages,builders", "plimsoll kubectl get images,builds -A", "plimsoll logs IMAGE --namespace NAMESPACE --follow",
		"plimsoll kubectl explain image.spec", "plimsoll patch plan --all")
	return l
}

// quiet hands on what somebody has to look at: the machinery of controllers tells of its every
// start and stop.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (q quiet) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
