// Package cluster takes the kubernetes program and a folder and gives a running Kubernetes on
// this machine: etcd, the API server, the controllers and the scheduler as child processes,
// and, when asked, a node that runs pods.
//
// All that it keeps is below the folder: certificates of an authority of its own, keys, data,
// kubeconfigs and logs. A folder is one cluster, and one process runs it at a time.
package cluster

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Options of a cluster. The zero value is a control plane without a node.
type Options struct {
	// Node makes this machine a node that runs pods; see node.go. It needs root,
	// containerd, runc, iproute2, iptables and the CNI plugins.
	Node bool
	// Registries are those whose images the node may pull by a certificate of their own,
	// or without TLS; Cluster.Trust adds more later.
	Registries []Registry
	// Forgetful lets etcd not wait for the disk, and Stop kill the parts. A power cut may then
	// lose or ruin the data: it is for tests.
	Forgetful bool
	// Patience is how long Start waits for everything to be ready; 0 means two minutes.
	Patience time.Duration
	// Logger hears when a part ends unasked and is started again; nil discards.
	Logger *slog.Logger
}

// Cluster is a running Kubernetes. Its methods are safe for concurrent use.
type Cluster struct {
	program string
	dir     string
	opt     Options
	lock    *os.File
	kept    *settings
	trusted trusted
	node    *node // nil without a node

	cancel context.CancelFunc // ends the renewal of certificates and the starting of parts
	tasks  sync.WaitGroup
	parts  []*part // in the order of their start
	phases []Phase
	once   sync.Once
	done   chan struct{}
}

// Start starts the cluster of a folder, which is made when it is missing, and gives it when it
// is ready: the API answers, and the first namespaces and their service accounts are there.
// program is the path of the kubernetes program. The cluster runs until Stop, or until this
// process ends: its parts end with it, however it ends. ctx bounds the start only.
//
// Its error is a *fault.Error: Unavailable when another process runs this folder's cluster or
// a port is taken, Usage when this machine cannot be a node, Failed when a part does not start;
// then its log is named.
func Start(ctx context.Context, program, dir string, opt Options) (*Cluster, error) {
	opt.Patience = cmp.Or(opt.Patience, 2*time.Minute)
	opt.Logger = cmp.Or(opt.Logger, slog.New(slog.DiscardHandler))
	for _, path := range []*string{&program, &dir} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return nil, fault.New(fault.Failed, "start the cluster", *path, err)
		}
		*path = absolute
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fault.New(fault.NotFound, "start the cluster", program, err).
			WithHint("build it with: make bin/kubernetes")
	}
	c := &Cluster{program: program, dir: dir, opt: opt, done: make(chan struct{})}
	if err := c.prepare(); err != nil {
		c.release()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, opt.Patience)
	defer cancel()
	if err := c.start(ctx); err != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		if left := c.Stop(stopping); left != nil {
			opt.Logger.Warn("a cluster that did not start left something", "error", left)
		}
		return nil, err
	}
	return c, nil
}

// prepare makes all that the parts read, when no other process runs them.
func (c *Cluster) prepare() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fault.New(fault.Failed, "start the cluster", c.dir, err)
	}
	if err := c.acquire(); err != nil {
		return err
	}
	if err := endLeftOver(c.path("run")); err != nil {
		return fault.New(fault.Failed, "end what a killed process left of the cluster", c.dir, err)
	}
	var err error
	if c.kept, err = openSettings(c.path("cluster.json")); err != nil {
		return err
	}
	if c.opt.Node {
		if c.node, err = newNode(c); err != nil {
			return err
		}
	}
	if err := c.writeFiles(time.Now()); err != nil {
		return fault.New(fault.Failed, "write the cluster's files", c.dir, err)
	}
	for _, r := range c.opt.Registries {
		if err := c.Trust(r); err != nil {
			return err
		}
	}
	return nil
}

// acquire takes the folder's lock, which the kernel gives back when this process ends.
func (c *Cluster) acquire() error {
	lock, err := os.OpenFile(c.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fault.New(fault.Failed, "start the cluster", c.dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return fault.Newf(fault.Unavailable, "start the cluster", c.dir, "another process runs it").
			WithHint("use that one, or end it first")
	}
	c.lock = lock
	return nil
}

// start starts the parts and waits until all is ready.
func (c *Cluster) start(ctx context.Context) error {
	running, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.tasks.Go(func() { c.renew(running) })
	if c.node != nil {
		// First of all: the API server listens on an address that the node's network gives.
		if err := c.node.up(ctx); err != nil {
			return err
		}
	}
	etcd, api := c.run(c.etcd()), c.run(c.apiServer())
	if err := c.apiReady(ctx, etcd, api); err != nil {
		return err
	}
	controllers := c.run(c.controllerManager())
	c.run(c.scheduler())
	if err := c.accountsReady(ctx, controllers); err != nil {
		return err
	}
	if c.node != nil {
		return c.node.ready(ctx)
	}
	return nil
}

// run starts to run a part, and keeps it running until Stop.
func (c *Cluster) run(p program) *part {
	started := startPart(p, c.path("run"), c.path("logs"), c.opt.Logger)
	c.parts = append(c.parts, started)
	return started
}

// Stop ends the cluster's parts, in the reverse order of their start, and gives the folder back.
// What still runs when ctx ends is killed. A second Stop waits for the first.
func (c *Cluster) Stop(ctx context.Context) error {
	var err error
	c.once.Do(func() {
		if c.cancel != nil {
			c.cancel()
		}
		c.tasks.Wait()
		if c.opt.Forgetful { // nothing waits for the disk: nothing needs time to end
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			cancel()
		}
		for i := len(c.parts) - 1; i >= 0; i-- {
			c.parts[i].stop(ctx)
		}
		if c.node != nil {
			err = c.node.down()
		}
		c.release()
		close(c.done)
	})
	<-c.done
	return err
}

func (c *Cluster) release() {
	if c.lock != nil {
		c.lock.Close()
	}
}

// Done is closed when the cluster was stopped.
func (c *Cluster) Done() <-chan struct{} { return c.done }

// Config gives what a client needs to reach the API as the administrator. The certificate in
// it is a file's, which is renewed in time.
func (c *Cluster) Config() *rest.Config {
	return &rest.Config{
		Host:            c.server(),
		TLSClientConfig: c.trusted.users.client("admin"),
		QPS:             -1, // the API server's own flow control is enough on one machine
	}
}

// Kubeconfig gives the path of the administrator's kubeconfig. It holds a key; its mode is 0600.
func (c *Cluster) Kubeconfig() string { return c.path("admin.kubeconfig") }

// Address gives the address of this machine that pods reach; without a node, loopback's. The
// API server listens there, and a registry for pods should.
func (c *Cluster) Address() string {
	if c.node != nil {
		return c.kept.Network.host().String()
	}
	return "127.0.0.1"
}

func (c *Cluster) path(names ...string) string {
	return filepath.Join(append([]string{c.dir}, names...)...)
}

// Part is what is known of one of the cluster's processes.
type Part struct {
	Name     string // its program's: "etcd", "kube-apiserver", "containerd"
	PID      int    // 0 between two runs
	Restarts int    // how often it ended unasked
	Memory   int64  // bytes resident, all of its own; 0 between two runs
	Log      string // the path of what it wrote, at most two files of 8 MiB each
}

// Parts gives the cluster's processes in the order of their start.
func (c *Cluster) Parts() []Part {
	var parts []Part
	for _, p := range c.parts {
		parts = append(parts, p.state())
	}
	return parts
}

// Phase is one thing that Start waited for.
type Phase struct {
	Name string
	Took time.Duration
}

// Phases gives what Start waited for, in order.
func (c *Cluster) Phases() []Phase { return slices.Clone(c.phases) }

// logTail gives the last lines of a part's log that say something of an error, for messages.
func logTail(path string) string {
	text, _ := os.ReadFile(path) // an empty tail says the same
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := len(lines) - 1; i >= 0 && i > len(lines)-40; i-- {
		line := lines[i]
		if strings.HasPrefix(line, "E") || strings.HasPrefix(line, "F") || strings.Contains(line, "rror:") || strings.Contains(line, `"fatal"`) {
			return line
		}
	}
	return lines[len(lines)-1]
}
