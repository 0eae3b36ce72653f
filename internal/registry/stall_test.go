package registry

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestStalledBodies: a client that stands still is cut off, whichever way the body goes; one that is
// slow is not, however long it takes.
func TestStalledBodies(t *testing.T) {
	const bytes = 20
	for _, c := range []struct {
		name   string
		pause  time.Duration // before each byte
		stalls bool
	}{{"slow", stalled * 2 / 5, false}, {"standing still", stalled * 5 / 4, true}} {
		t.Run("upload "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got error
				client := stallServer(t, func(_ http.ResponseWriter, r *http.Request) { _, got = io.ReadAll(r.Body) })
				fmt.Fprintf(client, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", bytes)
				for range bytes {
					time.Sleep(c.pause)
					if _, err := client.Write([]byte("x")); err != nil {
						break
					}
				}
				synctest.Wait()
				if errors.Is(got, os.ErrDeadlineExceeded) != c.stalls || !c.stalls && got != nil {
					t.Errorf("the body ends with %v", got)
				}
			})
		})
		t.Run("download "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got error
				chunk := strings.Repeat("x", 64<<10) // more than the server holds back
				client := stallServer(t, func(w http.ResponseWriter, _ *http.Request) {
					for range bytes {
						if _, got = io.WriteString(w, chunk); got != nil {
							return
						}
					}
				})
				io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				for part := make([]byte, len(chunk)); ; {
					time.Sleep(c.pause)
					if _, err := io.ReadFull(client, part); err != nil {
						break
					}
				}
				synctest.Wait()
				if errors.Is(got, os.ErrDeadlineExceeded) != c.stalls || !c.stalls && got != nil {
					t.Errorf("the body ends with %v", got)
				}
			})
		})
	}
}

// stallServer serves one connection, whose other end it gives.
func stallServer(t *testing.T, handler http.HandlerFunc) net.Conn {
	t.Helper()
	here, there := net.Pipe()
	conns := make(chan net.Conn, 1)
	conns <- there
	server := &http.Server{Handler: limitStalls(handler)}
	go func() { _ = server.Serve(oneConn{conns, make(chan struct{})}) }()
	t.Cleanup(func() { _, _ = here.Close(), server.Close() })
	return here
}

// oneConn is a net.Listener.
type oneConn struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l oneConn) Close() error { close(l.closed); return nil }

func (l oneConn) Addr() net.Addr { return &net.TCPAddr{} }
