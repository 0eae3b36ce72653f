package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
)

// followed gives a request as it may be sent. One that follows a redirect never leaves https, and
// takes no credentials to another host.
func followed(r *http.Request) (*http.Request, error) {
	if r.Response == nil || r.Response.Request == nil {
		return r, nil
	}
	from, to := r.Response.Request.URL, r.URL
	if from.Scheme == "https" && to.Scheme != "https" {
		return nil, refused(from.Host, "it sends on to "+to.Host+" without TLS")
	}
	if origin(r).URL.Host == to.Host || r.Header.Get("Authorization") == "" && r.Header.Get("Cookie") == "" {
		return r, nil
	}
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	r.Header.Del("Cookie")
	return r, nil
}

// origin gives the request at the start of a chain of redirects.
func origin(r *http.Request) *http.Request {
	for r.Response != nil && r.Response.Request != nil {
		r = r.Response.Request
	}
	return r
}

func refused(host, why string) error {
	return fault.Newf(fault.Failed, "ask registry", host, why).WithHint("this registry is not to be trusted, or badly set up")
}

// dialer asks hosts by two ways: a registry that is out on the internet can send on only to others
// that are, whatever their names resolve to. One inside this network may send on inside it.
type dialer struct {
	plain, outward http.RoundTripper
	hosts          *seen
}

func newDialer() *dialer {
	hosts := &seen{inside: map[string]bool{}}
	return &dialer{hosts: hosts, plain: client(nil, hosts.note), outward: client(onlyOutside, nil)}
}

func (d *dialer) RoundTrip(r *http.Request) (*http.Response, error) {
	first := origin(r)
	if first.URL.Hostname() == r.URL.Hostname() || d.hosts.isInside(first.URL.Host) {
		return d.plain.RoundTrip(r)
	}
	if via, err := http.ProxyFromEnvironment(r); err == nil && via != nil {
		return d.plain.RoundTrip(r) // that one looks up the name, and is inside itself
	}
	return d.outward.RoundTrip(r)
}

func client(control func(string, string, syscall.RawConn) error, note func(address string, at net.Addr)) http.RoundTripper {
	dial := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: control}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial.DialContext(ctx, network, address)
			if err == nil && note != nil {
				note(address, conn.RemoteAddr())
			}
			return conn, err
		},
		ForceAttemptHTTP2: true, MaxIdleConns: 64, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 15 * time.Second, MaxResponseHeaderBytes: 256 << 10,
		DisableCompression: true, // digests are of what is sent
	}
}

var errInside = errors.New("it is an address inside this network, and whoever sends there is outside")

// onlyOutside is a net.Dialer's Control: it sees the address that a name resolved to.
func onlyOutside(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %q: %w", address, err)
	}
	if isInside(at.Addr()) {
		return errInside
	}
	return nil
}

func isInside(ip netip.Addr) bool {
	ip = ip.Unmap()
	return !ip.IsGlobalUnicast() || ip.IsPrivate()
}

// seen remembers which hosts are inside this network.
type seen struct {
	mu     sync.Mutex
	inside map[string]bool // by host and port
}

func (s *seen) note(address string, at net.Addr) {
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.inside) >= maxHosts {
		clear(s.inside)
	}
	s.inside[address] = isInside(tcp.AddrPort().Addr())
}

func (s *seen) isInside(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, port := range []string{"", ":443", ":80"} {
		if s.inside[host+port] {
			return true
		}
	}
	return false
}
