// Package metrics takes what requests came to and how the registry's parts are doing, and
// gives pages: /metrics for Prometheus, /readyz for whoever sends requests here.
//
// Every label has few values: methods, kinds of endpoint, status codes, verdicts, and the
// projects and webhooks that the registry's configuration names. A repository, a tag, a
// principal or an address is never one.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"plimsoll.dev/plimsoll/internal/registry/audit"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/events"
	"plimsoll.dev/plimsoll/internal/registry/quota"
)

// Options say where figures come from. What is nil is not shown.
type Options struct {
	// Project gives the configured project of a repository, "" for none.
	Project func(repository string) string
	// Usage gives what the projects hold. It is called for each scrape, and must be quick.
	Usage func() []quota.Usage
	// Quarantined gives how many images of each project may not be pulled. As Usage.
	Quarantined func() map[string]int
	// Webhooks gives how each is doing. As Usage.
	Webhooks func() []events.Stats
	// Audit gives how the audit log is doing. As Usage.
	Audit func() audit.Stats
	// Policies and Settings give why what counts is not what their files say, nil where it is. As
	// Usage.
	Policies, Settings func() error
	// Probes must all pass for the registry to be ready.
	Probes []Probe
	// Allow says who may see /metrics. Nil: everybody.
	Allow func(*http.Request) bool
	// Logger gets why the registry is not ready. Nil: nothing is logged.
	Logger *slog.Logger
}

// Probe is one thing without which the registry is of no use.
type Probe struct {
	Name  string
	Check func(context.Context) error
}

// Metrics counts. It is safe for concurrent use.
type Metrics struct {
	o        Options
	registry *prometheus.Registry
	ready    *readiness

	requests  *prometheus.CounterVec
	took      *prometheus.HistogramVec
	sent      *prometheus.CounterVec
	byProject *prometheus.CounterVec
	inFlight  prometheus.Gauge
	judged    *prometheus.HistogramVec
}

const namespace = "plimsoll_registry"

// New gives metrics that have counted nothing yet.
func New(o Options) *Metrics {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Project == nil {
		o.Project = func(string) string { return "" }
	}
	m := &Metrics{
		o: o, registry: prometheus.NewRegistry(), ready: &readiness{probes: o.Probes, log: o.Logger},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "requests_total", Help: "Requests answered, by method, kind of endpoint, status and what the gate said.",
		}, []string{"method", "kind", "status", "verdict"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "request_duration_seconds", Help: "From a request's coming to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 600},
		}, []string{"method", "kind"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "sent_bytes_total", Help: "Bytes of answers' bodies.",
		}, []string{"kind"}),
		byProject: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "project_requests_total", Help: "Requests answered, by project, what was wanted and whether it was done, refused or failed.",
		}, []string{"project", "action", "outcome"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "requests_in_flight", Help: "Requests under way.",
		}),
		judged: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "judge_duration_seconds", Help: "Until the gate knew its verdict, by what that was.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .1, 1, 10, 60},
		}, []string{"action"}),
	}
	m.registry.MustRegister(m.requests, m.took, m.sent, m.byProject, m.inFlight, m.judged, states{o},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Hear counts a request.
func (m *Metrics) Hear(r *call.Record) {
	method, kind := known(r.Method, methods), kindOf(r)
	m.requests.WithLabelValues(method, kind, statusOf(r.Status), known(r.Verdict, verdicts)).Inc()
	m.took.WithLabelValues(method, kind).Observe(r.Took.Seconds())
	m.sent.WithLabelValues(kind).Add(float64(r.Bytes))
	if r.Endpoint.Repository != "" {
		m.byProject.WithLabelValues(m.o.Project(r.Endpoint.Repository), actionOf(r), outcomeOf(r.Status)).Inc()
	}
}

// Judged counts a verdict of the gate: "allow", "audit", "warn", "deny", or "error".
func (m *Metrics) Judged(action string, took time.Duration) {
	m.judged.WithLabelValues(known(action, verdicts)).Observe(took.Seconds())
}

// Door counts requests under way.
func (m *Metrics) Door(next http.Handler) http.Handler {
	return promhttp.InstrumentHandlerInFlight(m.inFlight, next)
}

// Pages answers /metrics and /readyz, and leaves the rest to next; nil answers 404.
func (m *Metrics) Pages(next http.Handler) http.Handler {
	if next == nil {
		next = http.NotFoundHandler()
	}
	figures := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: 4, Timeout: 30 * time.Second, Registry: m.registry,
		ErrorLog: slog.NewLogLogger(m.o.Logger.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			if m.o.Allow != nil && !m.o.Allow(r) {
				http.Error(w, "you may not see this", http.StatusForbidden)
				return
			}
			figures.ServeHTTP(w, r)
		case "/readyz":
			m.ready.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

var (
	methods  = map[string]bool{"GET": true, "HEAD": true, "PUT": true, "POST": true, "PATCH": true, "DELETE": true, "OPTIONS": true}
	verdicts = map[string]bool{"": true, "allow": true, "audit": true, "warn": true, "deny": true, "error": true}
)

// known keeps what a client makes up out of the labels.
func known(value string, values map[string]bool) string {
	if values[value] {
		return value
	}
	return "other"
}

func kindOf(r *call.Record) string {
	switch k := r.Endpoint.Kind; k {
	case call.KindManifest, call.KindBlob, call.KindUpload, call.KindTags, call.KindReferrers, call.KindCatalog:
		return string(k)
	}
	return "other"
}

func statusOf(status int) string {
	if status < 100 || status > 599 {
		return "other"
	}
	return strconv.Itoa(status)
}

func actionOf(r *call.Record) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return "pull"
	case http.MethodDelete:
		return "delete"
	}
	return "push"
}

func outcomeOf(status int) string {
	switch {
	case status < 400:
		return "done"
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusTooManyRequests:
		return "refused"
	}
	return "failed"
}
