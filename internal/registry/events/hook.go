package events

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"syscall"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/registry/access/pattern"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// hook is one webhook, understood.
type hook struct {
	name, url string
	types     []pattern.Pattern
	projects  []string
	secret    v1alpha1.RegistrySecret // its file as seen from here
	retryFor  time.Duration
	client    *http.Client
}

const (
	defaultTimeout  = 10 * time.Second
	longestTimeout  = 2 * time.Minute
	defaultRetryFor = 24 * time.Hour
)

var hookName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Check is the settings' check of webhooks.
func Check(s *settings.Settings) *manifest.Problem {
	names := map[string]bool{}
	for i, w := range s.Webhooks {
		if names[w.Name] {
			return manifest.Bad(fmt.Sprintf("spec.webhooks[%d].name", i), fmt.Sprintf("%q occurs twice", w.Name))
		}
		names[w.Name] = true
		if _, problem := newHook(s, i); problem != nil {
			return problem
		}
	}
	return nil
}

// newHook reads a webhook of the settings.
func newHook(s *settings.Settings, i int) (*hook, *manifest.Problem) {
	w, field := s.Webhooks[i], fmt.Sprintf("spec.webhooks[%d]", i)
	h := &hook{name: w.Name, url: w.URL, projects: w.Projects, secret: w.Secret, retryFor: defaultRetryFor}
	target, err := url.Parse(w.URL)
	switch {
	case !hookName.MatchString(w.Name):
		return nil, manifest.Bad(field+".name", "want lower-case letters, digits and dashes")
	case err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "":
		return nil, manifest.Bad(field+".url", "want http:// or https:// and a host")
	case target.User != nil:
		return nil, manifest.Bad(field+".url", "it holds a password; receivers know us by our signature")
	case (w.Secret.File == "") == (w.Secret.Env == ""):
		return nil, manifest.Bad(field+".secret", "name a file or a variable, and not both")
	}
	if w.Secret.File != "" {
		h.secret.File = s.Path(w.Secret.File)
	}
	for j, text := range w.Types {
		p, err := pattern.Compile(text, "/")
		if err != nil {
			return nil, manifest.Bad(fmt.Sprintf("%s.types[%d]", field, j), err.Error())
		}
		h.types = append(h.types, p)
	}
	for j, name := range w.Projects {
		if !slices.ContainsFunc(s.Projects, func(p v1alpha1.RegistryProject) bool { return p.Name == name }) {
			return nil, manifest.Bad(fmt.Sprintf("%s.projects[%d]", field, j), fmt.Sprintf("there is no project %q", name))
		}
	}
	timeout := defaultTimeout
	for text, into := range map[*string]*time.Duration{&w.Timeout: &timeout, &w.RetryFor: &h.retryFor} {
		if *text == "" {
			continue
		}
		if *into, err = settings.Period(*text); err != nil {
			return nil, manifest.Bad(field, err.Error())
		}
	}
	if timeout <= 0 || timeout > longestTimeout {
		return nil, manifest.Bad(field+".timeout", "want more than nothing, and at most 2m")
	}
	roots, err := readRoots(s, w.CAFile)
	if err != nil {
		return nil, manifest.Bad(field+".caFile", err.Error())
	}
	h.client = newClient(timeout, roots, w.RefusePrivate)
	return h, nil
}

func readRoots(s *settings.Settings, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(s.Path(file))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("it holds no certificate in PEM")
	}
	return roots, nil
}

// newClient gives one that follows no redirection: it would carry what is signed for one
// receiver to another.
func newClient(timeout time.Duration, roots *x509.CertPool, refusePrivate bool) *http.Client {
	dialer := &net.Dialer{Timeout: timeout}
	proxy := http.ProxyFromEnvironment
	if refusePrivate {
		dialer.Control = refuseAddress // a proxy would connect for us, to anywhere
		proxy = nil
	}
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: proxy, DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			MaxIdleConns: parallel, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
	}
}

var errPrivate = errors.New("the receiver's address is not a public one")

// refuseAddress is asked when a name has become an address, so no name leads around it.
func refuseAddress(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || slices.ContainsFunc(reserved(), func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return errPrivate
	}
	return nil
}

// reserved gives networks that are not public, beside those netip knows (RFC 6890, RFC 6052).
func reserved() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
	}
}

// wants says whether the webhook is to hear of such an event in the project.
func (h *hook) wants(kind, project string) bool {
	if len(h.projects) > 0 && !slices.Contains(h.projects, project) {
		return false
	}
	if len(h.types) == 0 {
		return kind != Pulled
	}
	return slices.ContainsFunc(h.types, func(p pattern.Pattern) bool { return p.Match(kind) })
}
