package registry_test

import (
	"context"
	"net"
	"testing"

	"plimsoll.dev/plimsoll/internal/registry"
)

// serve runs a server on a free port of the loopback until the test ends, and gives its
// address.
func serve(t testing.TB, reg *registry.Registry, o registry.ServeOptions) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	o.Addr = "127.0.0.1:0"
	o.Ready = func(a net.Addr) { ready <- a }
	go func() { ended <- reg.Serve(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("server ended with %v", err)
		}
	})
	select {
	case a := <-ready:
		return a.String()
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return ""
	}
}
