package sandbox_test

import (
	"os/exec"
	"testing"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/executortest"
)

// BenchmarkStart measures what the sandbox itself costs: a command that does nothing, on a
// root filesystem that is there already, beside bwrap by itself on this machine's own.
func BenchmarkStart(b *testing.B) {
	s := open(b, b.TempDir())
	step := executor.Step{
		Layers: []executor.Layer{executortest.Busybox(b)}, Command: []string{"true"}, Env: []string{"PATH=/bin"},
		UID: executortest.AppUID, GID: executortest.AppUID,
	}
	limited := step
	limited.Limits = executor.Limits{Memory: 64 << 20, Pids: 16, MilliCPU: 1000}
	for name, step := range map[string]executor.Step{"plain": step, "limited": limited} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if r, err := s.Run(b.Context(), step, nil, nil); err != nil || !r.OK() {
					b.Fatalf("%+v, %v", r, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/step")
		})
	}
	b.Run("bare bwrap", func(b *testing.B) {
		for b.Loop() {
			if out, err := exec.Command("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--", "true").CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/step")
	})
}
