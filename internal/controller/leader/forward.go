package leader

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// handed marks a request that another replica has handed on: it goes no further.
const handed = "Plimsoll-Handed-On"

// Holder tells where the replica that leads is reached; "" is nowhere. A *Lease is one.
type Holder interface{ Address() string }

// Handler answers by own once leading is closed, and until then hands requests on, with all that
// they carry, to the replica that leads. While there is none it says when to ask again.
func Handler(holder Holder, leading <-chan struct{}, own http.Handler) http.Handler {
	// Never by a proxy of the environment: it would read the tokens that requests carry.
	way := &http.Transport{DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, MaxIdleConnsPerHost: 8}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-leading:
			own.ServeHTTP(w, r)
			return
		default:
		}
		at := holder.Address()
		if at == "" || r.Header.Get(handed) != "" {
			nobody(w)
			return
		}
		forward(at, way).ServeHTTP(w, r)
	})
}

func forward(at string, way http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: at})
			r.Out.Host = r.In.Host
			r.Out.Header.Set(handed, "yes")
		},
		Transport:     way,
		FlushInterval: -1, // a log is read as it is written
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { nobody(w) },
	}
}

func nobody(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, "no replica leads just now: ask again", http.StatusServiceUnavailable)
}
