package program

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/pod"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/program/pods"
)

// TestBuildInPods builds the example in Go with each phase as a pod, and gets the image
// that the sandbox makes, to the byte: with nothing kept from before, and with a cache.
func TestBuildInPods(t *testing.T) {
	b := harbour(t, true)
	bed := pods.New(t)
	exec := bed.Executor(t, pod.Options{})
	dir := exampleApp(t, "go")
	want := b.build(dir, "-t", "sandbox:1", "--clear-cache")
	for _, how := range []string{"--clear-cache", "--force"} {
		got := b.buildBy(exec, dir, "-t", "pods:1", how)
		if got.Unchanged || got.Digest != want.Digest {
			t.Errorf("%s: in pods it is %s, in the sandbox %s\n%s", how, got.Digest, want.Digest, differing(want, got))
		}
	}
	if left := bed.Pods(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// buildBy is build with another executor than this machine's.
func (b *bench) buildBy(exec executor.Executor, args ...string) builtApp {
	b.t.Helper()
	local := &store{root: filepath.Join(b.home, "registry")}
	defer local.close()
	var out, errs bytes.Buffer
	host := b.host(&out, &errs)
	env := &cli.Env{
		In: host.In, Out: host.Out, Err: host.Err, Version: version(), Home: b.home, Getenv: host.Getenv,
		Registries: &oci.Registries{Local: local.open, Agent: "plimsoll/" + version()},
		Executor:   func() (executor.Executor, error) { return exec, nil },
	}
	var built builtApp
	if code := cli.Run(b.t.Context(), env, append([]string{"build", "-o", "json"}, args...)); code != 0 {
		b.t.Fatalf("build in pods: exit %d\n%s", code, errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), &built); err != nil {
		b.t.Fatal(err)
	}
	return built
}
