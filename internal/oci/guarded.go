package oci

import (
	"context"
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
	asking map[string]chan struct{} // closed when a host's first request by https has ended
	broken map[string]error         // the TLS error of a host
}

func (g *guarded) RoundTrip(request *http.Request) (*http.Response, error) {
	host := request.URL.Host
	if request.URL.Scheme == "https" {
		ended := g.begin(host)
		response, err := g.next.RoundTrip(request)
		ended(err)
		return response, err
	}
	if err := g.wait(request.Context(), host); err != nil {
		return nil, err
	}
	if !isLoopback(request.URL.Hostname()) {
		return nil, fmt.Errorf("%s does not speak https, and plain http is for this machine only", host)
	}
	return g.next.RoundTrip(request)
}

// begin notes a request by https, and its end.
func (g *guarded) begin(host string) (ended func(error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var first chan struct{}
	if g.asking == nil {
		g.asking, g.broken = map[string]chan struct{}{}, map[string]error{}
	}
	if g.asking[host] == nil {
		first = make(chan struct{})
		g.asking[host] = first
	}
	return func(err error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if isTLS(err) {
			g.broken[host] = err
		}
		if first != nil {
			close(first)
		}
	}
}

// wait gives what became of https, if it was tried: the library asks by both ways at once
// when an answer takes long.
func (g *guarded) wait(ctx context.Context, host string) error {
	g.mu.Lock()
	asking := g.asking[host]
	g.mu.Unlock()
	if asking != nil {
		select {
		case <-asking:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broken[host]
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
