package access

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// networks reads networks in CIDR notation.
func networks(texts []string) (out []netip.Prefix, err error) {
	for _, text := range texts {
		one, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		out = append(out, one.Masked())
	}
	return out, nil
}

// forwarded gives the request as if it came from the client itself, where it comes from a proxy
// that is trusted to say from whom.
func (r *rules) forwarded(request *http.Request) *http.Request {
	if len(r.proxies) == 0 {
		return request
	}
	host, _, err := net.SplitHostPort(request.RemoteAddr)
	if err != nil {
		return request
	}
	client := r.client(host, strings.Split(strings.Join(request.Header.Values("X-Forwarded-For"), ","), ","))
	if client == host {
		return request
	}
	request = request.WithContext(request.Context())
	request.RemoteAddr = net.JoinHostPort(client, "0")
	call.RecordOf(request.Context()).Client = client
	return request
}

// client goes back from the address that the request came from for as long as the addresses are
// of trusted proxies. What stands further to the left may be anybody's invention.
func (r *rules) client(from string, said []string) string {
	for i := len(said) - 1; i >= 0 && r.trusts(from); i-- {
		before, err := netip.ParseAddr(strings.TrimSpace(said[i]))
		if err != nil {
			break
		}
		from = before.WithZone("").String()
	}
	return from
}

func (r *rules) trusts(address string) bool {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	for _, network := range r.proxies {
		if network.Contains(ip.WithZone("").Unmap()) {
			return true
		}
	}
	return false
}
