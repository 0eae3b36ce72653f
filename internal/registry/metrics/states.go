package metrics

import "github.com/prometheus/client_golang/prometheus"

// states are figures that are asked for when they are scraped.
type states struct{ o Options }

// figure is one of them.
func figure(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

var (
	storeBytes   = figure("project_bytes", "Bytes that a project holds, each blob counted once.", "project")
	uploadBytes  = figure("project_upload_bytes", "Bytes of a project's uploads under way.", "project")
	quotaBytes   = figure("project_bytes_limit", "Bytes that a project may hold, where there is a limit.", "project")
	repositories = figure("project_repositories", "Repositories of a project.", "project")
	quotaRepos   = figure("project_repositories_limit", "Repositories that a project may have, where there is a limit.", "project")
	tags         = figure("project_tags", "Tags of a project.", "project")
	quotaTags    = figure("project_tags_limit", "Tags that a project may have, where there is a limit.", "project")
	quarantined  = figure("quarantined_images", "Images that may not be pulled.", "project")

	hookQueued    = figure("webhook_queue_length", "Events that wait to be delivered.", "webhook")
	hookOldest    = figure("webhook_queue_age_seconds", "Since the oldest event that waits.", "webhook")
	hookDead      = figure("webhook_dead_letters", "Events that were given up.", "webhook")
	hookDelivered = figure("webhook_delivered_total", "Events delivered.", "webhook")
	hookFailed    = figure("webhook_failures_total", "Attempts that failed.", "webhook")
	hookDropped   = figure("webhook_dropped_total", "Events for which there was no room.", "webhook")

	policiesStale = figure("policies_stale", "1 while the policies that count are not those of the files, or none can be found.")
	settingsStale = figure("settings_stale", "1 while the settings that count are not those of registry.yaml.")

	auditQueued  = figure("audit_queue_length", "Records that wait to be written.")
	auditLag     = figure("audit_lag_seconds", "Since the oldest record that waits.")
	auditWritten = figure("audit_records_total", "Records written.")
	auditDropped = figure("audit_dropped_total", "Records of pulls that were not written, because too many waited.")
)

// Describe implements prometheus.Collector. Its figures depend on what there is.
func (s states) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s states) Collect(to chan<- prometheus.Metric) {
	give := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		give(d, prometheus.GaugeValue, value, labels...)
	}
	if s.o.Usage != nil {
		for _, u := range s.o.Usage() {
			gauge(storeBytes, float64(u.Bytes), u.Project)
			gauge(uploadBytes, float64(u.Reserved), u.Project)
			gauge(repositories, float64(u.Repositories), u.Project)
			gauge(tags, float64(u.Tags), u.Project)
			for d, limit := range map[*prometheus.Desc]int64{quotaBytes: u.BytesLimit, quotaRepos: int64(u.RepositoriesLimit), quotaTags: int64(u.TagsLimit)} {
				if limit > 0 {
					gauge(d, float64(limit), u.Project)
				}
			}
		}
	}
	if s.o.Quarantined != nil {
		for project, n := range s.o.Quarantined() {
			gauge(quarantined, float64(n), project)
		}
	}
	if s.o.Webhooks != nil {
		for _, h := range s.o.Webhooks() {
			gauge(hookQueued, float64(h.Queued), h.Webhook)
			gauge(hookOldest, h.Oldest.Seconds(), h.Webhook)
			gauge(hookDead, float64(h.Dead), h.Webhook)
			give(hookDelivered, prometheus.CounterValue, float64(h.Delivered), h.Webhook)
			give(hookFailed, prometheus.CounterValue, float64(h.Failed), h.Webhook)
			give(hookDropped, prometheus.CounterValue, float64(h.Dropped), h.Webhook)
		}
	}
	for d, stale := range map[*prometheus.Desc]func() error{policiesStale: s.o.Policies, settingsStale: s.o.Settings} {
		switch {
		case stale == nil:
		case stale() != nil:
			gauge(d, 1)
		default:
			gauge(d, 0)
		}
	}
	if s.o.Audit != nil {
		a := s.o.Audit()
		gauge(auditQueued, float64(a.Queued))
		gauge(auditLag, a.Lag.Seconds())
		give(auditWritten, prometheus.CounterValue, float64(a.Written))
		give(auditDropped, prometheus.CounterValue, float64(a.Dropped))
	}
}
