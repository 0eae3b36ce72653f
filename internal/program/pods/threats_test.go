package pods

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/executortest"
	"plimsoll.dev/plimsoll/internal/executor/pod"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TestThreats is what the suite of all executors cannot ask: what a cluster gets to see, what
// becomes of pods that are lost, and what nodes that do not do as they should.
func TestThreats(t *testing.T) {
	b := New(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *Bed)
	}{
		{"Secrets", secrets}, {"Killed", killed}, {"OpenNetwork", openNetwork}, {"LostPods", lostPods},
		{"NoImage", noImage}, {"NoRoom", noRoom}, {"HostileFolder", hostileFolder},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, b) })
		if left := b.Pods(t); len(left) > 0 {
			t.Errorf("%s left behind: %q", part.name, left)
		}
	}
}

// step gives a shell step.
func step(t testing.TB, script string, mounts ...executor.Mount) executor.Step {
	return executor.Step{
		Layers: []executor.Layer{executortest.Busybox(t)}, Command: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"},
		UID: executortest.AppUID, GID: executortest.AppUID, Mounts: mounts, Limits: executor.Limits{Wall: time.Minute},
	}
}

// secrets plants secrets in all that a step is given and prints, and looks for them in all
// that a cluster writes down while the step runs and after: its objects, events, logs and
// what its nodes keep on disk.
func secrets(t *testing.T, b *Bed) {
	planted := map[string]string{}
	for _, where := range []string{"argument", "variable", "file", "output", "error"} {
		planted[where] = "planted-" + rand.Text()
	}
	s := step(t, `cat /run/key >/dev/null; echo "$OUTPUT"; echo "$ERROR" >&2; echo ready; sleep 1000`,
		executor.Mount{Kind: executor.Data, Target: "/run/key", Content: []byte(planted["file"])})
	s.Command = append(s.Command, planted["argument"])
	s.Env = append(s.Env, "KEY="+planted["variable"], "OUTPUT="+planted["output"], "ERROR="+planted["error"])
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var names []string
	var out bytes.Buffer
	ready := func() {
		names = b.Pods(t)
		b.search(t, planted)
		cancel()
	}
	_, err := b.Executor(t, pod.Options{}).Run(ctx, s, io.MultiWriter(&out, onReady(ready)), &out)
	if !errors.Is(err, context.Canceled) || len(names) != 1 {
		t.Fatalf("%v, with the pods %q", err, names)
	}
	if got := out.String(); !strings.Contains(got, planted["output"]) || !strings.Contains(got, planted["error"]) {
		t.Errorf("the step printed %q", got)
	}
	b.search(t, planted)
	if !b.writtenDown(t, strings.TrimPrefix(names[0], "pod ")) {
		t.Error("not even the pod's name was found: the search proves nothing")
	}
}

// onReady calls found when "ready" has been written.
func onReady(found func()) io.Writer { return &ready{found: found} }

type ready struct {
	seen  []byte
	found func()
}

func (r *ready) Write(p []byte) (int, error) {
	if r.seen = append(r.seen, p...); r.found != nil && bytes.Contains(r.seen, []byte("ready")) {
		r.found()
		r.found = nil
	}
	return len(p), nil
}

func (b *Bed) search(t *testing.T, planted map[string]string) {
	t.Helper()
	for where, secret := range planted {
		if b.writtenDown(t, secret) {
			t.Errorf("the cluster wrote down what was planted as %s", where)
		}
	}
}

// writtenDown looks for text in all the files of a cluster: its database, its logs, and what
// its node keeps.
func (b *Bed) writtenDown(t *testing.T, text string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(filepath.Dir(b.Cluster.Kubeconfig()), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // a pod's folder that goes meanwhile
		}
		content, err := os.ReadFile(path)
		if err == nil && bytes.Contains(content, []byte(text)) {
			found = true
			t.Logf("%q is in %s", text, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// openNetwork takes the wish for no network from pods on their way to the API server, so that
// the node gives them one: the executor must find out, and run nothing.
func openNetwork(t *testing.T, b *Bed) {
	open := rest.CopyConfig(b.Config)
	open.Wrap(func(next http.RoundTripper) http.RoundTripper { return wishless{next} })
	open.ContentType = "application/json"
	e, err := pod.New(open, b.Images, pod.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, err = e.Run(t.Context(), step(t, "echo ran"), &out, &out)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.HintOf(err), "NetworkPolicy") || out.Len() > 0 {
		t.Errorf("got %v, hint %q, output %q", err, fault.HintOf(err), out.String())
	}
	// One that is closed only at the second look has its step run, and heard.
	once := rest.CopyConfig(b.Config)
	once.Wrap(func(next http.RoundTripper) http.RoundTripper { return &first{then: next, first: wishless{next}} })
	once.ContentType = open.ContentType
	if e, err = pod.New(once, b.Images, pod.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), step(t, "echo ran"), &out, &out); err != nil || out.String() != "ran\n" {
		t.Errorf("closed at last: %q, %v", out.String(), err)
	}
	out.Reset()
	e, err = pod.New(open, b.Images, pod.Options{TrustNetworkPolicies: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = e.Run(t.Context(), step(t, "echo ran"), &out, &out); err != nil || out.String() != "ran\n" {
		t.Errorf("where it is trusted: %q, %v", out.String(), err)
	}
}

// first sends the first request its own way, and all others as they are.
type first struct {
	first, then http.RoundTripper
	sent        atomic.Bool
}

func (f *first) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && !f.sent.Swap(true) {
		return f.first.RoundTrip(r)
	}
	return f.then.RoundTrip(r)
}

// wishless takes the annotation out of what is sent.
type wishless struct{ next http.RoundTripper }

func (w wishless) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || r.Body == nil {
		return w.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	// The first is the label's, by which NetworkPolicies choose, and stays.
	const wish = `"plimsoll.dev/network":"none"`
	if i := bytes.Index(body, []byte(`"annotations":`)); i >= 0 {
		body = append(body[:i:i], bytes.Replace(body[i:], []byte(wish), []byte(`"x":"y"`), 1)...)
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return w.next.RoundTrip(r)
}

// lostPods are deleted and evicted under their steps.
func lostPods(t *testing.T, b *Bed) {
	e := b.Executor(t, pod.Options{})
	for name, lose := range map[string]func(string) error{
		"deleted": func(name string) error {
			return b.Admin.CoreV1().Pods(pod.DefaultNamespace).Delete(t.Context(), name, metav1.DeleteOptions{})
		},
		"killed": func(name string) error {
			return b.Admin.CoreV1().Pods(pod.DefaultNamespace).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
		},
		"evicted": func(name string) error {
			return b.Admin.PolicyV1().Evictions(pod.DefaultNamespace).Evict(t.Context(),
				&policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: pod.DefaultNamespace}})
		},
	} {
		var failed error
		_, err := e.Run(t.Context(), step(t, "echo ready; sleep 1000"), onReady(func() {
			failed = lose(strings.TrimPrefix(b.Pods(t)[0], "pod "))
		}), nil)
		if failed != nil {
			t.Fatalf("%s: %v", name, failed)
		}
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: got %v (kind %d)", name, err, fault.KindOf(err))
		}
	}
}

// fixed are Images of which there is one.
type fixed string

func (f fixed) Ref(context.Context, []executor.Layer) (string, error) { return string(f), nil }

func noImage(t *testing.T, b *Bed) {
	e, err := pod.New(b.Config, fixed(b.pull+"@sha256:"+strings.Repeat("0", 64)), pod.Options{PullTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), step(t, "true"), nil, nil); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "pull") {
		t.Errorf("got %v (kind %d)", err, fault.KindOf(err))
	}
}

func noRoom(t *testing.T, b *Bed) {
	e := b.Executor(t, pod.Options{StartTimeout: 3 * time.Second})
	large := step(t, "true")
	large.Limits.MilliCPU = 1_000_000
	if _, err := e.Run(t.Context(), large, nil, nil); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "nsufficient cpu") {
		t.Errorf("a thousand processors: got %v (kind %d)", err, fault.KindOf(err))
	}
	elsewhere := pod.With(t.Context(), pod.Placement{Scheduling: v1alpha1.BuildScheduling{NodeSelector: map[string]string{"on": "moon"}}})
	if _, err := e.Run(elsewhere, step(t, "true"), nil, nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a node that there is not: got %v (kind %d)", err, fault.KindOf(err))
	}
}

// hostileFolder has steps leave what would harm the machine that takes it back.
func hostileFolder(t *testing.T, b *Bed) {
	e := b.Executor(t, pod.Options{DiskBytes: 64 << 20, ReturnedFiles: 100})
	around := t.TempDir()
	dir, outside := filepath.Join(around, "w"), filepath.Join(around, "outside")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "sub"), 0o755), os.WriteFile(outside, []byte("as it was"), 0o644)); err != nil {
		t.Fatal(err)
	}
	w := executor.Mount{Kind: executor.ReadWrite, Source: dir, Target: "/w"}
	for name, script := range map[string]string{
		"a sparse giant": "truncate -s 1099511627776 /w/giant",
		"many files":     "cd /w; i=0; while [ $i -lt 200 ]; do : > $i; i=$((i+1)); done",
	} {
		if r, err := e.Run(t.Context(), step(t, script, w), nil, nil); fault.KindOf(err) != fault.Failed || fault.HintOf(err) == "" {
			t.Errorf("%s: got %+v, %v (kind %d)", name, r, err, fault.KindOf(err))
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
			t.Errorf("%s: the folder holds %v, %v", name, list, err)
		}
	}
	for _, script := range []string{
		"rmdir /w/sub && ln -s .. /w/sub && mkfifo /w/pipe && cp /bin/busybox /w/tool && chmod 6755 /w/tool",
		"rm /w/sub && mkdir /w/sub && echo hostile > /w/sub/outside",
	} {
		if r, err := e.Run(t.Context(), step(t, script, w), nil, nil); err != nil || !r.OK() {
			t.Fatalf("%s: %+v, %v", script, r, err)
		}
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != "as it was" {
		t.Errorf("a file outside is now %q, %v", got, err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "sub", "outside")); err != nil || string(got) != "hostile\n" {
		t.Errorf("the file inside is %q, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "tool")); err != nil || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		t.Errorf("the tool came back as %v, %v", info, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "pipe")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the pipe came back: %v", err)
	}
}
