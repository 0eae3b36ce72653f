package program

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// figure gives what the controllers' process says of itself: the sum of each metric over those of
// its labels that are let through.
func (p *planeBench) figure(metric string, which func(labels map[string]string) bool) float64 {
	p.b.Helper()
	request, err := http.NewRequestWithContext(p.b.Context(), http.MethodGet, "http://"+p.metrics+"/metrics", nil)
	must(p.b, err)
	response, err := http.DefaultClient.Do(request)
	must(p.b, err)
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	must(p.b, err)
	var sum float64
	for _, m := range families[metric].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if which == nil || which(labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// writes gives how many requests to the API have changed something, or tried to.
func (p *planeBench) writes() float64 {
	return p.figure("rest_client_requests_total", func(labels map[string]string) bool { return labels["method"] != http.MethodGet })
}

// count gives how many Images there are.
func (p *planeBench) count() (n int) {
	for _, names := range p.names {
		n += len(names)
	}
	return n
}

// rest waits until nothing waits to be looked at.
func (p *planeBench) rest() {
	p.b.Helper()
	p.until("nothing waits", func() string {
		depth := p.figure("workqueue_depth", nil)
		looked := p.figure("controller_runtime_reconcile_total", func(labels map[string]string) bool { return labels["controller"] == "image" })
		if depth > 0 || looked < float64(p.count()) {
			return fmt.Sprintf("%.0f wait, %.0f Images were looked at", depth, looked)
		}
		return ""
	})
}

// wakeAll has all Images looked at again.
func (p *planeBench) wakeAll() {
	p.b.Helper()
	looked := func() float64 {
		return p.figure("controller_runtime_reconcile_total", func(labels map[string]string) bool { return labels["controller"] == "image" })
	}
	before := looked()
	builder := &v1alpha1.Builder{ObjectMeta: metav1.ObjectMeta{Name: "standard"}}
	touch := fmt.Appendf(nil, `{"metadata":{"labels":{"touched":"t%d"}}}`, time.Now().UnixNano())
	must(p.b, p.api.Patch(p.b.Context(), builder, client.RawPatch("application/merge-patch+json", touch)))
	p.until("all are looked at", func() string {
		if n := looked() - before; n < float64(p.count()) {
			return fmt.Sprintf("%.0f are", n)
		}
		return ""
	})
	p.rest()
}

// parts gives the processes of the control plane, by name.
func (p *planeBench) parts() map[string]int {
	p.b.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(p.b, err)
	found := map[string]int{"plimsoll": p.up.Process.Pid}
	for _, file := range files {
		text, _ := os.ReadFile(file) // it has ended meanwhile when this fails
		args := strings.Split(string(text), "\x00")
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && len(args) > 2 && filepath.Base(args[0]) == "kubernetes" && bytes.Contains(text, []byte(p.home)) {
			found[args[1]] = pid
		}
	}
	return found
}

// used gives what each part has used of processors so far.
func (p *planeBench) used() map[string]time.Duration {
	p.b.Helper()
	out := map[string]time.Duration{}
	for name, pid := range p.parts() {
		out[name] = processorTime(p.b, pid)
	}
	return out
}

// resident gives the resident memory of each part, in bytes (proc_pid_status(5)).
func (p *planeBench) resident() map[string]int64 {
	p.b.Helper()
	out := map[string]int64{}
	for name, pid := range p.parts() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		must(p.b, err)
		_, rest, _ := strings.Cut(string(text), "VmRSS:")
		kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		must(p.b, err)
		out[name] = kilobytes << 10
	}
	return out
}
