package archive

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// breaker cuts answers whose path ends in the suffix after half of their bytes, as long as
// it is armed.
type breaker struct {
	suffix string
	armed  atomic.Bool
	hits   atomic.Int32
}

func (b *breaker) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !b.armed.Load() || !strings.Contains(r.URL.Path, b.suffix) {
			next.ServeHTTP(w, r)
			return
		}
		b.hits.Add(1)
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(make([]byte, 50))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

func TestCutConnection(t *testing.T) {
	for _, suffix := range []string{"InRelease", "/by-hash/", ".deb"} {
		t.Run(strings.Trim(suffix, "/."), func(t *testing.T) {
			a := debarchive.New(t, hello())
			b := &breaker{suffix: suffix}
			b.armed.Store(true)
			r := newReader(t, a, a.Serve(t, b.wrap).URL)
			_, err := r.read(t.Context())
			checkFault(t, err, fault.Unavailable, r.mirror)
			if b.hits.Load() == 0 {
				t.Fatal("the test cut nothing")
			}
			for _, name := range files(t, r.cache) {
				if strings.Contains(name, "aside") || strings.HasPrefix(name, "deb/") {
					t.Errorf("%s is left over", name)
				}
			}
			b.armed.Store(false)
			if paths, err := r.read(t.Context()); err != nil || len(paths) != 2 {
				t.Errorf("again, with the network back: %v, %v", paths, err)
			}
		})
	}
}

func TestServerThatFailsIsAskedAgain(t *testing.T) {
	a := debarchive.New(t, hello())
	var asked atomic.Int32
	server := a.Serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "InRelease") && asked.Add(1) == 1 {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	if _, err := newReader(t, a, server.URL).read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 2 {
		t.Errorf("want 2 requests, got %d", asked.Load())
	}
}

func TestServerThatIsGone(t *testing.T) {
	a := debarchive.New(t, hello())
	server := a.Serve(t, nil)
	server.Close()
	_, err := newReader(t, a, server.URL).read(t.Context())
	checkFault(t, err, fault.Unavailable, "InRelease", server.URL)
}

func TestCancelled(t *testing.T) {
	a := debarchive.New(t, hello())
	for _, part := range []string{"InRelease", "/by-hash/", ".deb"} {
		ctx, cancel := context.WithCancel(t.Context())
		server := a.Serve(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, part) {
					cancel()
					<-r.Context().Done()
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		_, err := newReader(t, a, server.URL).read(ctx)
		if fault.KindOf(err) != fault.Canceled {
			t.Errorf("%s: want Canceled, got %v", part, err)
		}
		cancel()
	}
}

func TestCredentialsStayOutOfErrors(t *testing.T) {
	const secret = "s3cr3t"
	a := debarchive.New(t, hello())
	status := http.StatusOK
	server := a.Serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, password, _ := r.BasicAuth(); password != secret {
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			if status != http.StatusOK {
				http.Error(w, "no", status)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	with := func(address string) string { return strings.Replace(address, "://", "://user:"+secret+"@", 1) }
	r := newReader(t, a, with(server.URL))
	if _, err := r.read(t.Context()); err != nil {
		t.Fatalf("the credentials do not reach the server: %v", err)
	}
	for _, name := range files(t, r.state) {
		text, err := os.ReadFile(filepath.Join(r.state, name))
		if err != nil || strings.Contains(string(text), secret) {
			t.Errorf("the state folder holds the secret (%v): %s", err, text)
		}
	}
	gone := a.Serve(t, nil)
	gone.Close()
	mirrors := map[string]string{
		"no such name":  "http://user:" + secret + "@mirror.invalid/debian",
		"no such path":  with(server.URL) + "/nowhere",
		"not listening": with(gone.URL),
		"bad scheme":    "gopher://user:" + secret + "@mirror.invalid/debian",
		"bad escape":    "http://user:%zz" + secret + "@mirror.invalid/debian",
		"bad port":      "http://user:" + secret + "@mirror.invalid:port/debian",
		"control byte":  "http://user:" + secret + "@mirror.invalid/\x7f",
	}
	for name, mirror := range mirrors {
		_, err := newReader(t, a, mirror).read(t.Context())
		_, errPool := NewPool(t.TempDir(), "test").Package(t.Context(), mirror, "pool/x.deb", File{SHA256: strings.Repeat("0", 64), Size: 1})
		for _, err := range []error{err, errPool} {
			if err == nil {
				t.Fatalf("%s: no error", name)
			}
			if text := err.Error() + fault.HintOf(err); strings.Contains(text, secret) {
				t.Errorf("%s: the error shows the secret: %s", name, text)
			}
		}
	}
}
