package metrics_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"plimsoll.dev/plimsoll/internal/registry/audit"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/events"
	"plimsoll.dev/plimsoll/internal/registry/metrics"
	"plimsoll.dev/plimsoll/internal/registry/quota"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// scrape gives what Prometheus reads from the page.
func scrape(t *testing.T, pages http.Handler) map[string]*dto.MetricFamily {
	t.Helper()
	server := httptest.NewServer(pages)
	defer server.Close()
	resp, err := http.Get(server.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value gives the figure of the one series that has the labels.
func value(t *testing.T, families map[string]*dto.MetricFamily, name string, labels map[string]string) float64 {
	t.Helper()
	for _, m := range families[name].GetMetric() {
		got := map[string]string{}
		for _, l := range m.GetLabel() {
			got[l.GetName()] = l.GetValue()
		}
		if !cmp.Equal(got, labels) {
			continue
		}
		switch {
		case m.Counter != nil:
			return m.Counter.GetValue()
		case m.Gauge != nil:
			return m.Gauge.GetValue()
		}
		return float64(m.Histogram.GetSampleCount())
	}
	t.Errorf("%s%v is not on the page", name, labels)
	return -1
}

func TestFigures(t *testing.T) {
	m := metrics.New(metrics.Options{
		Project:     func(repository string) string { project, _, _ := strings.Cut(repository, "/"); return project },
		Usage:       func() []quota.Usage { return []quota.Usage{{Project: "team", Bytes: 7, BytesLimit: 10, Tags: 3}} },
		Quarantined: func() map[string]int { return map[string]int{"team": 2} },
		Webhooks: func() []events.Stats {
			return []events.Stats{{Webhook: "ci", Queued: 4, Oldest: time.Minute, Dead: 1, Delivered: 9}}
		},
		Audit:    func() audit.Stats { return audit.Stats{Queued: 5, Lag: time.Second, Written: 6} },
		Policies: func() error { return errors.New("a rule is wrong") },
		Settings: func() error { return nil },
	})
	push := call.Record{Method: "PUT", Endpoint: call.Endpoint{Kind: call.KindManifest, Repository: "team/app"}, Status: 201, Took: time.Millisecond}
	m.Hear(&push)
	m.Hear(&push)
	m.Hear(&call.Record{Method: "GET", Endpoint: call.Endpoint{Kind: call.KindBlob, Repository: "team/app"}, Status: 403, Verdict: "deny", Bytes: 100})
	m.Judged("deny", time.Millisecond)

	var during map[string]*dto.MetricFamily
	door := m.Door(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { during = scrape(t, m.Pages(nil)) }))
	door.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v2/", nil))
	if got := value(t, during, "plimsoll_registry_requests_in_flight", map[string]string{}); got != 1 {
		t.Errorf("%v requests are under way, want 1", got)
	}

	page := scrape(t, m.Pages(nil))
	for _, c := range []struct {
		name   string
		labels map[string]string
		want   float64
	}{
		{"requests_total", map[string]string{"method": "PUT", "kind": "manifests", "status": "201", "verdict": ""}, 2},
		{"requests_total", map[string]string{"method": "GET", "kind": "blobs", "status": "403", "verdict": "deny"}, 1},
		{"request_duration_seconds", map[string]string{"method": "PUT", "kind": "manifests"}, 2},
		{"sent_bytes_total", map[string]string{"kind": "blobs"}, 100},
		{"project_requests_total", map[string]string{"project": "team", "action": "pull", "outcome": "refused"}, 1},
		{"judge_duration_seconds", map[string]string{"action": "deny"}, 1},
		{"project_bytes", map[string]string{"project": "team"}, 7},
		{"project_bytes_limit", map[string]string{"project": "team"}, 10},
		{"project_tags", map[string]string{"project": "team"}, 3},
		{"quarantined_images", map[string]string{"project": "team"}, 2},
		{"webhook_queue_length", map[string]string{"webhook": "ci"}, 4},
		{"webhook_queue_age_seconds", map[string]string{"webhook": "ci"}, 60},
		{"webhook_dead_letters", map[string]string{"webhook": "ci"}, 1},
		{"webhook_delivered_total", map[string]string{"webhook": "ci"}, 9},
		{"audit_queue_length", map[string]string{}, 5},
		{"audit_lag_seconds", map[string]string{}, 1},
		{"policies_stale", map[string]string{}, 1},
		{"settings_stale", map[string]string{}, 0},
		{"audit_records_total", map[string]string{}, 6},
	} {
		if got := value(t, page, "plimsoll_registry_"+c.name, c.labels); got != c.want {
			t.Errorf("%s%v = %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	if page["plimsoll_registry_project_tags_limit"] != nil {
		t.Error("a limit that is none is on the page")
	}
}

// Every figure that the documents name is on the page.
func TestFiguresOfDocuments(t *testing.T) {
	text, err := os.ReadFile("../../../docs/registry-operations.md")
	if err != nil {
		t.Fatal(err)
	}
	m := metrics.New(metrics.Options{
		Usage:    func() []quota.Usage { return []quota.Usage{{Project: "team", BytesLimit: 1}} },
		Webhooks: func() []events.Stats { return []events.Stats{{Webhook: "ci"}} },
		Audit:    func() audit.Stats { return audit.Stats{} },
		Policies: func() error { return nil },
		Settings: func() error { return nil },
	})
	m.Hear(&call.Record{Method: "GET", Endpoint: call.Endpoint{Kind: call.KindManifest, Repository: "team/app"}, Status: 200})
	page := scrape(t, m.Pages(nil))
	names := regexp.MustCompile(`plimsoll_registry_\w+`).FindAllString(string(text), -1)
	for _, name := range names {
		if page[strings.TrimSuffix(name, "_bucket")] == nil {
			t.Errorf("%s is not on the page", name)
		}
	}
	if len(names) == 0 {
		t.Error("the document names no figure")
	}
}

// Whatever clients make up, the number of series stays.
func TestClientsCannotMakeSeries(t *testing.T) {
	m := metrics.New(metrics.Options{})
	for i := range 1000 {
		odd := strings.Repeat("x", i)
		m.Hear(&call.Record{Method: odd, Endpoint: call.Endpoint{Kind: call.Kind(odd), Repository: odd}, Status: 600 + i, Verdict: odd, Path: odd, Principal: odd})
		m.Judged(odd, 0)
	}
	for name, family := range scrape(t, m.Pages(nil)) {
		if strings.HasPrefix(name, "plimsoll_") && len(family.GetMetric()) > 4 {
			t.Errorf("%s has %d series", name, len(family.GetMetric()))
		}
	}
}

func TestOpenMetrics(t *testing.T) {
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	w := httptest.NewRecorder()
	metrics.New(metrics.Options{}).Pages(nil).ServeHTTP(w, r)
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(w.Body.String(), "# EOF\n") {
		t.Errorf("%s: …%.40q", w.Header(), w.Body.String()[max(0, w.Body.Len()-40):])
	}
}

func TestPagesAreNotForEverybody(t *testing.T) {
	m := metrics.New(metrics.Options{Allow: func(r *http.Request) bool { return r.Header.Get("X-May") != "" }})
	pages := m.Pages(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for path, want := range map[string]int{"/metrics": 403, "/readyz": 200, "/token": 418, "/metrics/": 418} {
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestAllow(t *testing.T) {
	const token = "0123456789abcdefghijklmnop"
	getenv := func(string) string { return token + "\nsecond-token-0123456789" }
	parse := func(text string) *settings.Settings {
		s, err := settings.Parse([]byte("apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec: "+text+"\n"), "", metrics.Check)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		name            string
		settings        *settings.Settings
		from, forwarded string
		shown           string
		want            bool
	}{
		{"no settings", nil, "192.0.2.1:9", "", "", true},
		{"from elsewhere", parse("{}"), "192.0.2.1:9", "", "", false},
		{"from here", parse("{}"), "127.0.0.1:9", "", "", true},
		{"from here, in IPv6", parse("{}"), "[::1]:9", "", "", true},
		{"through a proxy", parse("{}"), "127.0.0.1:9", "192.0.2.1", "", false},
		{"token", parse("{metrics: {token: {env: T}}}"), "192.0.2.1:9", "192.0.2.7", "Bearer " + token, true},
		{"second token", parse("{metrics: {token: {env: T}}}"), "192.0.2.1:9", "", "Bearer second-token-0123456789", true},
		{"wrong token", parse("{metrics: {token: {env: T}}}"), "127.0.0.1:9", "", "Bearer x" + token, false},
		{"no token", parse("{metrics: {token: {env: T}}}"), "127.0.0.1:9", "", "", false},
		{"empty token", parse("{metrics: {token: {env: T}}}"), "127.0.0.1:9", "", "Bearer ", false},
		{"token that is not there", parse("{metrics: {token: {file: /nowhere/at/all}}}"), "127.0.0.1:9", "", "Bearer ", false},
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.RemoteAddr = c.from
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if c.shown != "" {
			r.Header.Set("Authorization", c.shown)
		}
		if got := metrics.Allow(func() *settings.Settings { return c.settings }, getenv)(r); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
	text := "apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec: {metrics: {token: {}}}\n"
	if _, err := settings.Parse([]byte(text), "", metrics.Check); err == nil {
		t.Error("a token that is nowhere was taken")
	}
}

func TestReadiness(t *testing.T) {
	broken := errors.New("the disk at /secret/place is full")
	cases := []struct {
		name   string
		probes []metrics.Probe
		status int
		text   string
	}{
		{"nothing to check", nil, 200, "ready\n"},
		{"all well", []metrics.Probe{{"store", func(context.Context) error { return nil }}}, 200, "ok store\nready\n"},
		{"one is not", []metrics.Probe{
			{"store", func(context.Context) error { return nil }},
			{"audit", func(context.Context) error { return broken }},
		}, 503, "ok store\nnot ready: audit\n"},
		{"one hangs", []metrics.Probe{{"store", func(context.Context) error { select {} }}}, 503, "not ready: store\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			metrics.New(metrics.Options{Probes: c.probes}).Pages(nil).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
			text, _ := io.ReadAll(w.Body)
			if w.Code != c.status || string(text) != c.text {
				t.Errorf("%d %q, want %d %q", w.Code, text, c.status, c.text)
			}
		})
	}
}

func TestManyAskWhetherItIsReady(t *testing.T) {
	var mu sync.Mutex
	checked := 0
	pages := metrics.New(metrics.Options{Probes: []metrics.Probe{{"store", func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		checked++
		return nil
	}}}}).Pages(nil)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { pages.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/readyz", nil)) })
	}
	all.Wait()
	if checked > 3 {
		t.Errorf("100 questions made %d checks", checked)
	}
}
