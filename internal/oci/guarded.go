package oci

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// guarded keeps credentials off the open network. The library beneath tries plain http
// where https fails, for private addresses and names such as "x.local"; here it may do so
// for this machine alone, and never after a failed TLS handshake, whose cause it would hide.
type guarded struct {
	next http.RoundTripper

	mu     sync.Mutex
	broken map[string]error // the TLS error of a host
}

func (g *guarded) RoundTrip(request *http.Request) (*http.Response, error) {
	host := request.URL.Host
	if request.URL.Scheme == "https" {
		response, err := g.next.RoundTrip(request)
		if isTLS(err) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.broken == nil {
				g.broken = map[string]error{}
			}
			g.broken[host] = err
		}
		return response, err
	}
	g.mu.Lock()
	broken := g.broken[host]
	g.mu.Unlock()
	if broken != nil {
		return nil, broken
	}
	if !isLoopback(request.URL.Hostname()) {
		return nil, fmt.Errorf("%s does not speak https, and plain http is for this machine only", host)
	}
	return g.next.RoundTrip(request)
}

// isTLS tells a peer that speaks TLS, but not to our liking.
func isTLS(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	return certificate || alert
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
