package program

import (
	"net"
	"sync"
	"testing"
)

// proxy is a way to a server that can be cut, and stopped.
type proxy struct {
	network, to string
	listener    net.Listener

	mu    sync.Mutex
	flows chan struct{} // closed while bytes pass
	cut   bool
	conns map[net.Conn]bool
}

// newProxy gives a way to an address, "tcp" or "unix", that ends with the test.
func newProxy(t *testing.T, network, to string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{network: network, to: to, listener: listener, flows: make(chan struct{}), conns: map[net.Conn]bool{}}
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

// address gives where the way begins.
func (p *proxy) address() string { return p.listener.Addr().String() }

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
	far, err := net.Dial(p.network, p.to)
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
