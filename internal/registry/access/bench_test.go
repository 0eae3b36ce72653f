package access_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// BenchmarkDoor gives what the door adds to a request, in turns with none: with a token, which is
// what clients send, and with a robot's secret. 500 projects of 20 members each are set up.
func BenchmarkDoor(b *testing.B) {
	bed := serve(b, large(500, 20))
	said, err := settings.Open(filepath.Join(bed.home, "registry.yaml"), slog.New(slog.DiscardHandler), access.Check)
	if err != nil {
		b.Fatal(err)
	}
	who, err := access.Open(bed.home, access.Options{Settings: said})
	if err != nil {
		b.Fatal(err)
	}
	user, secret := bed.robot("p499/ci", year, nil, "pull")
	const path = "/v2/p499/app/manifests/v1"
	token := bed.token(user, secret, "repository:p499/app:pull")
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	ways := []struct {
		name    string
		handler http.Handler
		show    func(*http.Request)
		took    []time.Duration
	}{
		{name: "none", handler: next, show: func(*http.Request) {}},
		{name: "token", handler: who.Door(next), show: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }},
		{name: "secret", handler: who.Door(next), show: func(r *http.Request) { r.SetBasicAuth(user, secret) }},
	}
	for b.Loop() {
		for i := range ways {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			ways[i].show(r)
			w := httptest.NewRecorder()
			began := time.Now()
			ways[i].handler.ServeHTTP(w, r)
			ways[i].took = append(ways[i].took, time.Since(began))
			if w.Code != http.StatusOK {
				b.Fatalf("%s: got %d %s", ways[i].name, w.Code, w.Body)
			}
		}
	}
	for _, way := range ways {
		slices.Sort(way.took)
		n := len(way.took)
		b.ReportMetric(float64(way.took[n/2].Nanoseconds())/1e3, way.name+"-p50-µs")
		b.ReportMetric(float64(way.took[n*99/100].Nanoseconds())/1e3, way.name+"-p99-µs")
	}
}

// large says so many projects, each with so many members.
func large(projects, members int) string {
	var text strings.Builder
	text.WriteString("\n  limits: {requests: {perSecond: 1000000, burst: 1000000}}\n  projects:\n")
	for p := range projects {
		fmt.Fprintf(&text, "  - name: p%d\n    members:\n", p)
		for m := range members {
			fmt.Fprintf(&text, "    - {user: u%d, role: reader}\n", m)
		}
	}
	return text.String()
}
