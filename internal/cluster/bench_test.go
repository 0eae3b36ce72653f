package cluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
)

// BenchmarkStart starts the control plane on a new folder and again on the same, beside
// controller-runtime's envtest with the same program. That one starts etcd, waits, and starts
// the API server, and has neither controllers nor a scheduler.
func BenchmarkStart(b *testing.B) {
	program := clustertest.Program(b)
	for b.Loop() {
		dir := b.TempDir()
		var took [2]time.Duration
		for i := range took {
			began := time.Now()
			c, err := cluster.Start(b.Context(), program, dir, cluster.Options{Forgetful: i == 0})
			if err != nil {
				b.Fatal(err)
			}
			took[i] = time.Since(began)
			b.Logf("start %d took %s:%s", i+1, took[i].Round(time.Millisecond), describe(c))
			began = time.Now()
			if err := c.Stop(context.Background()); err != nil {
				b.Fatal(err)
			}
			b.Logf("  stopped in %s", time.Since(began).Round(time.Millisecond))
		}
		peer := startPeer(b, program)
		b.ReportMetric(took[0].Seconds(), "cold-s")
		b.ReportMetric(took[1].Seconds(), "warm-s")
		b.ReportMetric(peer.Seconds(), "envtest-s")
		b.ReportMetric(peer.Seconds()/took[1].Seconds(), "envtest/warm")
	}
}

// describe says on one line what the start waited for, and what memory each part has.
func describe(c *cluster.Cluster) string {
	var text strings.Builder
	for _, p := range c.Phases() {
		fmt.Fprintf(&text, " %s %s,", p.Name, p.Took.Round(time.Millisecond))
	}
	for _, p := range c.Parts() {
		fmt.Fprintf(&text, " %s %d MB,", p.Name, p.Memory>>20)
	}
	return strings.TrimSuffix(text.String(), ",")
}

// startPeer gives how long envtest takes to start.
func startPeer(b *testing.B, program string) time.Duration {
	b.Helper()
	assets := b.TempDir()
	for _, part := range []string{"etcd", "kube-apiserver", "kubectl"} {
		script := fmt.Sprintf("#!/bin/sh\nexec '%s' %s \"$@\"\n", program, part)
		if err := os.WriteFile(filepath.Join(assets, part), []byte(script), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	peer := &envtest.Environment{BinaryAssetsDirectory: assets, ControlPlaneStartTimeout: time.Minute}
	began := time.Now()
	if _, err := peer.Start(); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	if err := peer.Stop(); err != nil {
		b.Fatal(err)
	}
	return took
}

// BenchmarkNode starts a cluster with a node on a new folder and again on the same, and runs a
// pod on it.
func BenchmarkNode(b *testing.B) {
	program := clustertest.Program(b)
	for b.Loop() {
		dir := b.TempDir()
		for i := range 2 {
			began := time.Now()
			c, err := cluster.Start(b.Context(), program, dir, cluster.Options{Node: true})
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("start %d took %s:%s", i+1, time.Since(began).Round(time.Millisecond), describe(c))
			began = time.Now()
			s := &site{cluster: c, api: client(b, c), image: cluster.PauseImage}
			pod := s.pod(fmt.Sprintf("pod-%d", i), "/pod")
			s.create(b, pod)
			s.running(b, pod.Name, 0)
			b.Logf("  a pod ran after %s", time.Since(began).Round(time.Millisecond))
			began = time.Now()
			if err := c.Stop(context.Background()); err != nil {
				b.Fatal(err)
			}
			b.Logf("  stopped in %s", time.Since(began).Round(time.Millisecond))
		}
	}
}
