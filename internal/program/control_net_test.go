//go:build e2e

package program

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
)

// TestControlPlaneBehindBadNetwork runs a control plane whose way to the API is cut and stopped at
// random points while bases change and commits come. In the end all is made from the newest, and
// nothing was done twice.
func TestControlPlaneBehindBadNetwork(t *testing.T) {
	const faults, lasting, between = 12, 3 * time.Second, 3 * time.Second // at most
	kubernetes := clustertest.Start(t)
	way := newProxy(t, strings.TrimPrefix(kubernetes.Config().Host, "https://"))
	c := newControl(t, "--kubeconfig", way.kubeconfig(t, kubernetes.Kubeconfig()))
	t.Setenv("KUBECONFIG", kubernetes.Kubeconfig())
	c.start()
	c.connect(kubernetes.Kubeconfig())
	c.applyBuildBase()
	c.applyBefore("web")
	c.apply(smallBuilder)
	c.apply(strings.ReplaceAll(smallShop, "REPOSITORY", c.repo.url))
	c.eventually(builtWithin, "the Image is built", func() error { return c.settled("static") })
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for n := range faults {
		c.flip(n%2 == 1, "web")
		if n%3 == 0 {
			c.repo.say(fmt.Sprint("Gale ", n))
		}
		<-time.After(time.Duration(random.Int64N(int64(between))))
		way.fault(random.IntN(2) == 0)
		<-time.After(time.Duration(random.Int64N(int64(lasting))))
		way.mend()
	}
	c.eventually(builtWithin, "the Image is of the newest", func() error { return c.settled("static") })
	c.onceEach("static")
	if n := c.lastBuild("static").Spec.Number; n < 3 {
		t.Errorf("%d Builds: nothing was done meanwhile", n)
	}
	c.verified("static")
	c.stop()
}

const smallBuilder = `
apiVersion: plimsoll.dev/v1alpha1
kind: Builder
metadata: {name: builder}
spec:
  build: {image: "build:1"}
  run: [{image: "web:1"}]
  lifecycle: {path: lifecycle}
  buildpacks: [{path: buildpacks/static-web}]
  order: [{group: [{id: plimsoll/static-web}]}]
`

const smallShop = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: plimsoll.dev/v1alpha1
kind: Image
metadata: {name: static, namespace: shop}
spec:
  tag: shop/static:1
  builder: {name: builder}
  source:
    git: {url: REPOSITORY}
    subpath: static
  triggers: {interval: 1s}
`

// proxy is a way to a server that can be cut, and stopped.
type proxy struct {
	to       string
	listener net.Listener

	mu    sync.Mutex
	flows chan struct{} // closed while bytes pass
	cut   bool
	conns map[net.Conn]bool
}

// newProxy gives a way to an address that ends with the test.
func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{to: to, listener: listener, flows: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(p.flows)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.mend()
		p.hangUp()
		serving.Wait()
	})
	return p
}

// kubeconfig gives a copy of a kubeconfig that leads through the proxy.
func (p *proxy) kubeconfig(t *testing.T, file string) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + p.listener.Addr().String()
	}
	out := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// fault begins one: nothing passes any more, or every connection breaks and none is made.
func (p *proxy) fault(cut bool) {
	p.mu.Lock()
	p.flows, p.cut = make(chan struct{}), cut
	p.mu.Unlock()
	if cut {
		p.hangUp()
	}
}

// mend ends what fault began.
func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	select {
	case <-p.flows:
	default:
		close(p.flows)
	}
}

// hangUp breaks every connection.
func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// take keeps a connection, unless all are cut.
func (p *proxy) take(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		conn.Close()
		return false
	}
	p.conns[conn] = true
	return true
}

func (p *proxy) drop(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	conn.Close()
	delete(p.conns, conn)
}

// serve passes bytes both ways until one end hangs up.
func (p *proxy) serve(near net.Conn) {
	if !p.take(near) {
		return
	}
	defer p.drop(near)
	far, err := net.Dial("tcp", p.to)
	if err != nil || !p.take(far) {
		return
	}
	defer p.drop(far)
	var back sync.WaitGroup
	back.Go(func() { p.pass(near, far) })
	p.pass(far, near)
	back.Wait()
}

// pass copies while bytes flow, and closes both ends when one is at its end.
func (p *proxy) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		flows := p.flows
		p.mu.Unlock()
		<-flows
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}
