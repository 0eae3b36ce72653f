// Package plane takes a home and gives a running control plane: Kubernetes, where none is given,
// the registry, and the controllers that keep every image patched.
package plane

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/controller/build"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/leader"
	"plimsoll.dev/plimsoll/internal/controller/patch"
	"plimsoll.dev/plimsoll/internal/evidence/recent"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/update"
)

// stopWithin bounds how long the parts of the home's own Kubernetes may take to end.
const stopWithin = 30 * time.Second

// Plane is a control plane that is being started, or runs.
type Plane struct {
	site *site.Site
	o    cli.UpOptions
	log  *slog.Logger

	cluster *cluster.Cluster // nil where the cluster is somebody else's
	target  *rest.Config
	served  *servedRegistry // nil where images are published elsewhere

	lease *leader.Lease // nil where there is a single replica

	lent  http.RoundTripper                     // way to servers that Images name; nil is outside
	paced func(*update.Options, *patch.Options) // how often campaigns are looked at; nil is as it is

	cache  client.Reader                // of the controllers
	images atomic.Pointer[image.Images] // nil until they are set up
	idleBy *recent.Values[bool]         // answers of idle

	campaigns atomic.Pointer[campaigns]     // nil until they are set up
	rebases   atomic.Pointer[build.Rebases] // nil until they are set up
}

// Run runs a control plane until ctx ends, and tells ready when all of it does.
func Run(ctx context.Context, s *site.Site, o cli.UpOptions, log *slog.Logger, ready func(cli.UpState)) (err error) {
	started := time.Now()
	p := &Plane{site: s, o: o, log: log, idleBy: recent.New[bool](mostIdle)}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := p.connect(ctx); err != nil {
		return err
	}
	if p.cluster != nil {
		defer func() {
			bounded, done := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
			defer done()
			if failed := p.cluster.Stop(bounded); err == nil {
				err = failed
			}
		}()
	}
	if o.Publish == "" {
		if p.served, err = p.serve(ctx); err != nil {
			return err
		}
		defer func() {
			cancel(nil)
			p.served.wait()
		}()
		go p.served.ended(cancel)
	}
	return p.control(ctx, cancel, func(page string) { ready(p.state(page, time.Since(started))) })
}

// connect gives the Kubernetes API: one of the home's own, or that of a cluster that is there.
func (p *Plane) connect(ctx context.Context) (err error) {
	switch {
	case p.o.InCluster:
		if p.target, err = rest.InClusterConfig(); err != nil {
			return fault.New(fault.Unavailable, "reach the cluster", "--in-cluster", err).WithHint("this works in a pod with a service account only")
		}
	case p.o.Kubeconfig != "":
		if p.target, err = clientcmd.BuildConfigFromFlags("", p.o.Kubeconfig); err != nil {
			return fault.New(fault.Usage, "read kubeconfig", p.o.Kubeconfig, err)
		}
	default:
		program, err := kubernetes(p.site.Getenv)
		if err != nil {
			return err
		}
		p.cluster, err = cluster.Start(ctx, program, p.site.Path("kubernetes"), cluster.Options{Node: p.o.Node, Logger: p.log})
		if err != nil {
			return err
		}
		p.target = p.cluster.Config()
	}
	return nil
}

// programVariable names the kubernetes program, where it does not lie beside this one.
const programVariable = "PLIMSOLL_KUBERNETES"

// kubernetes gives the path of the program that is all of Kubernetes.
func kubernetes(getenv func(string) string) (string, error) {
	if path := getenv(programVariable); path != "" {
		return path, nil
	}
	own, err := os.Executable()
	if err != nil {
		return "", fault.New(fault.Failed, "find the kubernetes program", "", err)
	}
	path := filepath.Join(filepath.Dir(own), "kubernetes")
	if _, err := os.Stat(path); err != nil {
		return "", fault.New(fault.NotFound, "find the kubernetes program", path, err).
			WithHint("build it with `make bin/kubernetes`, name it by " + programVariable + ", or use a cluster that is there: --kubeconfig FILE")
	}
	return path, nil
}
