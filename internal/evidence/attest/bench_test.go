package attest

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// BenchmarkIssue signs images and attests four times 100 kB for each. It prints what it
// costs of a processor beside what the signatures alone cost.
func BenchmarkIssue(b *testing.B) {
	h := store(b)
	images, attestations := p256(b), p256(b)
	predicate := json.RawMessage(`{"text":"` + strings.Repeat("sbom ", 20_000) + `"}`)
	var signing, all time.Duration
	n := 0
	for b.Loop() {
		n++
		b.StopTimer()
		h.image = h.push(b, fmt.Sprint(n))
		evidence := h.evidence(artifact.PredicateSPDX, artifact.PredicateCycloneDX, artifact.PredicateProvenance, artifact.PredicateHardening)
		for i := range evidence[1:] {
			evidence[i+1].Predicate = predicate
		}
		b.StartTimer()
		start := processor(b)
		h.issue(b, evidence, images, attestations)
		all += processor(b) - start

		start = processor(b)
		for range len(evidence) + 1 {
			if _, err := attestations.Sign(b.Context(), predicate); err != nil {
				b.Fatal(err)
			}
		}
		signing += processor(b) - start
	}
	b.ReportMetric(float64(all.Microseconds())/1000/float64(n), "ms-cpu/image")
	b.ReportMetric(float64(all)/float64(signing), "x-signatures-alone")
}

// processor gives the processor time this process has used.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
