package figures

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// Metrics are the figures as Prometheus reads them. docs/metrics.md lists them; a test holds it against
// these.
type Metrics struct {
	counter *Counter

	ended    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	latency  *prometheus.HistogramVec
	kept     *prometheus.GaugeVec
	pruned   *prometheus.CounterVec
}

// NewMetrics gives those of a counter.
func NewMetrics(counter *Counter) *Metrics {
	m := &Metrics{counter: counter}
	m.ended = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "plimsoll_builds_total", Help: "Builds that have ended, by method and result.",
	}, []string{"method", "result"})
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "plimsoll_build_duration_seconds", Help: "How long the last attempt of a Build that has ended took; of a rebase with those of its fleet that were before it.",
		Buckets: []float64{.1, .5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600},
	}, []string{"method", "result"})
	m.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "plimsoll_build_latency_seconds", Help: "From when a Build was made until its tag named the image: waiting and attempts included.",
		Buckets: []float64{1, 5, 10, 30, 60, 180, 600, 1800, 3600, 14400},
	}, []string{"method", "priority"})
	m.kept = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "plimsoll_cache_bytes", Help: "What a cache of the home held when it was last pruned.",
	}, []string{"cache"})
	m.pruned = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "plimsoll_cache_pruned_bytes_total", Help: "What was removed from a cache of the home, the longest unused first.",
	}, []string{"cache"})
	return m
}

// Cache hears what a cache holds, and what was just removed from it, in bytes.
func (m *Metrics) Cache(name string, bytes, removed int64) {
	m.kept.WithLabelValues(name).Set(float64(bytes))
	m.pruned.WithLabelValues(name).Add(float64(removed))
}

// Ended hears that a Build has ended, and how long its last attempt took.
func (m *Metrics) Ended(b *v1alpha1.Build, took time.Duration) {
	method, result := string(b.Spec.Method), string(b.Status.Phase)
	m.ended.WithLabelValues(method, result).Inc()
	m.duration.WithLabelValues(method, result).Observe(took.Seconds())
	if b.Status.Phase == v1alpha1.BuildSucceeded {
		m.latency.WithLabelValues(method, string(b.Spec.Priority)).Observe(time.Since(b.CreationTimestamp.Time).Seconds())
	}
}

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("plimsoll_"+name, help, labels, nil)
}

var (
	images       = gauge("images", "Images, by their condition Ready and its reason.", "ready", "reason")
	verdicts     = gauge("images_verdict", "Images, by the verdict at the registry's gate; none where nobody has decided.", "action")
	bases        = gauge("base_images", "BaseImages, by their condition Ready and its reason.", "ready", "reason")
	builders     = gauge("builders", "Builders, by their condition Ready and its reason.", "ready", "reason")
	running      = gauge("builds_running", "Builds from source that run.")
	waiting      = gauge("builds_waiting", "Builds that wait, by method and priority. Rebases count until their end.", "method", "priority")
	waitingSince = gauge("builds_waiting_oldest_seconds", "How long the oldest of them waits.", "method", "priority")
	feedReady    = gauge("feed_ready", "1 where the last sync of an advisory feed went well.", "feed")
	feedAge      = gauge("feed_age_seconds", "Since an advisory feed last brought something new.", "feed")
)

// lines are all that a Build can wait in: a line that is empty is 0, so that alerts see it.
var lines = []Line{
	{v1alpha1.MethodBuild, v1alpha1.PrioritySecurity}, {v1alpha1.MethodBuild, v1alpha1.PriorityCommit},
	{v1alpha1.MethodBuild, v1alpha1.PriorityRoutine}, {v1alpha1.MethodRebase, v1alpha1.PrioritySecurity},
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{images, verdicts, bases, builders, running, waiting, waitingSince, feedReady, feedAge} {
		to <- d
	}
	m.ended.Describe(to)
	m.duration.Describe(to)
	m.latency.Describe(to)
	m.kept.Describe(to)
	m.pruned.Describe(to)
}

// Collect implements prometheus.Collector. Where the cache does not answer there are no figures of it.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.ended.Collect(to)
	m.duration.Collect(to)
	m.latency.Collect(to)
	m.kept.Collect(to)
	m.pruned.Collect(to)
	ctx, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	f, err := m.counter.Count(ctx)
	if err != nil {
		return
	}
	give := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for d, states := range map[*prometheus.Desc]map[State]int{images: f.Images, bases: f.Bases, builders: f.Builders} {
		for state, n := range states {
			give(d, float64(n), string(state.Ready), state.Reason)
		}
	}
	for action, n := range f.Verdicts {
		if action == "" {
			action = "none"
		}
		give(verdicts, float64(n), action)
	}
	give(running, float64(f.Builds))
	for _, line := range lines {
		if _, ok := f.Waiting[line]; !ok {
			f.line(give, line, Waiting{})
		}
	}
	for line, w := range f.Waiting {
		f.line(give, line, w)
	}
	for _, feed := range f.Feeds {
		ready := 0.0
		if feed.Ready {
			ready = 1
		}
		give(feedReady, ready, feed.Name)
		if !feed.Synced.IsZero() {
			give(feedAge, f.At.Sub(feed.Synced).Seconds(), feed.Name)
		}
	}
}

func (f Figures) line(give func(*prometheus.Desc, float64, ...string), l Line, w Waiting) {
	age := 0.0
	if w.Builds > 0 {
		age = max(0, f.At.Sub(w.Oldest).Seconds())
	}
	give(waiting, float64(w.Builds), string(l.Method), string(l.Priority))
	give(waitingSince, age, string(l.Method), string(l.Priority))
}
