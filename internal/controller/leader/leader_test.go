package leader

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
	"plimsoll.dev/plimsoll/internal/fault"
)

// at is a Holder that has been told.
type at string

func (a at) Address() string { return string(a) }

func TestRequestsReachWhoLeads(t *testing.T) {
	leads := make(chan struct{})
	close(leads)
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.URL, r.Host, r.Header.Get("Authorization"), body)
	})
	never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("one that does not lead has answered") })
	leader := serve(t, Handler(at(""), leads, own))
	stale := serve(t, Handler(at(leader), nil, never))
	gone := httptest.NewServer(own)
	gone.Close()

	for _, test := range []struct {
		name, ask string
		code      int
	}{
		{"who leads", leader, http.StatusOK},
		{"who stands by", serve(t, Handler(at(leader), nil, never)), http.StatusOK},
		{"nobody leads", serve(t, Handler(at(""), nil, never)), http.StatusServiceUnavailable},
		{"who led is gone", serve(t, Handler(at(strings.TrimPrefix(gone.URL, "http://")), nil, never)), http.StatusServiceUnavailable},
		{"two that take each other for it", serve(t, Handler(at(stale), nil, never)), http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+test.ask+"/webhooks/shop/a%2fb?x=1", strings.NewReader("pushed"))
			if err != nil {
				t.Fatal(err)
			}
			request.Host = "plimsoll.example.com"
			request.Header.Set("Authorization", "Bearer token")
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != test.code {
				t.Fatalf("got %s: %s", answer.Status, body)
			}
			want := "POST /webhooks/shop/a%2fb?x=1 plimsoll.example.com Bearer token pushed"
			if test.code == http.StatusOK && string(body) != want {
				t.Errorf("got %q, want %q", body, want)
			}
			if test.code != http.StatusOK && answer.Header.Get("Retry-After") == "" {
				t.Error("it does not say when to ask again")
			}
		})
	}
}

// TestALogIsHandedOnAsItIsWritten reads a line before the next one is written.
func TestALogIsHandedOnAsItIsWritten(t *testing.T) {
	leads := make(chan struct{})
	close(leads)
	read := make(chan struct{})
	leader := serve(t, Handler(at(""), leads, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "first")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-read:
			fmt.Fprintln(w, "second")
		case <-r.Context().Done():
		}
	})))
	answer, err := http.Get("http://" + serve(t, Handler(at(leader), nil, nil)) + "/logs/shop/app-b1?follow")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for _, want := range []string{"first", "second"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, want %q: %v", lines.Text(), want, lines.Err())
		}
		if want == "first" {
			close(read)
		}
	}
}

// serve gives the address of a handler.
func serve(t *testing.T, handler http.Handler) string {
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestTheLeaseSaysWhoLeads has two replicas contend for a lease of a real API server.
func TestTheLeaseSaysWhoLeads(t *testing.T) {
	config := clustertest.Start(t).Config()
	replica := func(address string) *Lease {
		l, err := New(config, "kube-system", address)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first, second := replica("[fd00::1]:5080"), replica("10.0.0.2:5080")
	held := func(by string) resourcelock.LeaderElectionRecord {
		return resourcelock.LeaderElectionRecord{HolderIdentity: by, LeaseDurationSeconds: 60}
	}
	look := func(l *Lease, want string) {
		t.Helper()
		if _, _, err := l.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := l.Address(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := first.Address(); got != "" {
		t.Errorf("nobody has looked, and it is %q", got)
	}
	if err := first.Create(t.Context(), held(first.Identity())); err != nil {
		t.Fatal(err)
	}
	look(first, "")
	look(second, "[fd00::1]:5080")
	if err := second.Update(t.Context(), held(second.Identity())); err != nil {
		t.Fatal(err)
	}
	look(second, "")
	look(first, "10.0.0.2:5080")
	for _, foreign := range []string{"", "pod_uuid", "pod_evil.example.com:80_uuid", "pod_10.0.0.3_uuid", "pod__uuid", "a_b_c_d"} {
		if _, _, err := second.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := second.Update(t.Context(), held(foreign)); err != nil {
			t.Fatal(err)
		}
		look(first, "")
	}
	if _, err := New(config, "kube-system", "pod.example.com:80"); fault.KindOf(err) != fault.Usage {
		t.Errorf("a name is an address: %v", err)
	}
}

func TestJoin(t *testing.T) {
	for _, test := range []struct{ ip, listen, want string }{
		{"10.0.0.2", ":5080", "10.0.0.2:5080"},
		{"fd00::1", "0.0.0.0:80", "[fd00::1]:80"},
		{"", ":5080", ""},
	} {
		if got, err := Join(test.ip, test.listen); err != nil || got != test.want {
			t.Errorf("%s at %s: got %q, %v, want %q", test.ip, test.listen, got, err, test.want)
		}
	}
	if _, err := Join("10.0.0.2", "5080"); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}
