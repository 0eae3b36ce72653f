package plane

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"plimsoll.dev/plimsoll/internal/fault"
)

// metadata are the addresses at which clouds tell machines who they are, with credentials: link-local
// ones (RFC 3927, RFC 4291) and those that clouds have made up beside them.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fd00:ec2::/32"),
	netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("168.63.129.16/32"),
}

func isMetadata(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	for _, prefix := range metadata {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

var errMetadata = errors.New("it is an address of the machine's own cloud, which sources and registries are never at")

// outside is the way to servers that Images name. It sees the address that a name has resolved to.
var outside = func() *http.Transport {
	dial := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err == nil && isMetadata(at.Addr()) {
			err = errMetadata
		}
		return err
	}}
	t := remote.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = dial.DialContext
	return t
}()

// reachable refuses a git server at such an address. Git looks the name up again by itself: this
// keeps mistakes and plain attempts out, and network policies those who own a name server.
func reachable(ctx context.Context, location string) error {
	host := hostOf(location)
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil && numeric.MatchString(host) {
		return fault.Newf(fault.Denied, "read source", host, "it is an address, and not in the usual form").WithHint("write it as four numbers, or take the name")
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil // whoever fetches says so; behind a proxy nobody need know the name here
	}
	for _, ip := range addresses {
		if isMetadata(ip) {
			return fault.New(fault.Denied, "read source", host, errMetadata)
		}
	}
	return nil
}

// numeric is what git's resolver takes for an IPv4 address, in whatever form (inet_aton(3)).
var numeric = regexp.MustCompile(`(?i)(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$`)

// hostOf gives the host of a URL, or of "git@host:path".
func hostOf(location string) string {
	if strings.Contains(location, "://") {
		u, err := url.Parse(location)
		if err != nil {
			return ""
		}
		return u.Hostname()
	}
	before, _, _ := strings.Cut(location, ":")
	return before[strings.LastIndexByte(before, '@')+1:]
}
