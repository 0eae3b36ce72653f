package oci

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"plimsoll.dev/plimsoll/internal/testbed"
)

// wire records what would go out, and answers nothing.
type wire struct{ sent []string }

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.sent = append(w.sent, r.URL.Scheme+" "+r.URL.Host)
	return nil, http.ErrServerClosed
}

func TestPlainHTTPStaysOnThisMachine(t *testing.T) {
	for host, allowed := range map[string]bool{
		"localhost:5000": true, "127.0.0.1:5000": true, "[::1]:5000": true,
		"10.9.9.9:5000": false, "192.168.1.2": false, "registry.local": false, "registry.example.com": false,
	} {
		out := &wire{}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("user", "secret")
		if _, err := (&guarded{next: out}).RoundTrip(request); err == nil || len(out.sent) > 0 != allowed {
			t.Errorf("%s: sent %v, want sent: %t (%v)", host, out.sent, allowed, err)
		}
	}
}

func TestUnknownAuthorityIsSaid(t *testing.T) {
	plain := 0
	_, address := testbed.TLSServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			plain++
		}
	}))
	ref, err := Parse(strings.TrimPrefix(address, "https://") + "/x:1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&Registries{Keys: authn.NewMultiKeychain()}).Get(context.Background(), ref)
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("want the certificate blamed, got %v", err)
	}
	if plain > 0 {
		t.Error("it asked again without TLS")
	}
}
