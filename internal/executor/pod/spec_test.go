package pod

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

func newExecutor(t *testing.T, opt Options) *Executor {
	t.Helper()
	e, err := New(&rest.Config{Host: "https://cluster.invalid"}, nil, opt)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// sample is a step with everything.
func sample(t *testing.T) executor.Step {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return executor.Step{
		Layers:  []executor.Layer{{DiffID: "sha256:" + string(make([]byte, 64))}},
		Command: []string{"sh", "-c", "argument"}, Env: []string{"KEY=variable"}, UID: 1000, GID: 1001,
		Mounts: []executor.Mount{
			{Source: dir, Target: "/ro"}, {Source: file, Target: "/etc/one"}, {Kind: executor.ReadWrite, Source: dir, Target: "/w/"},
			{Kind: executor.Tmpfs, Target: "/scratch", Size: 1 << 20}, {Kind: executor.Data, Target: "/run/key", Content: []byte("secret")},
		},
		Limits: executor.Limits{MilliCPU: 500, Memory: 1 << 30, Pids: 100, Wall: time.Minute},
	}
}

func podOf(t *testing.T, e *Executor, s executor.Step, p Placement) *corev1.Pod {
	t.Helper()
	plan, err := e.plan(s)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{executor: e, step: s, plan: plan, image: "registry.invalid/steps@sha256:0", placement: p}
	return r.spec()
}

// TestPodsAreRestricted has Kubernetes' own check of the restricted standard look at a pod.
func TestPodsAreRestricted(t *testing.T) {
	checks, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		t.Fatal(err)
	}
	made := podOf(t, newExecutor(t, Options{}), sample(t), Placement{})
	for _, result := range checks.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &made.ObjectMeta, &made.Spec) {
		if !result.Allowed {
			t.Errorf("%s: %s", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
	if spec := made.Spec; *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks || spec.ServiceAccountName != DefaultServiceAccount ||
		spec.RestartPolicy != corev1.RestartPolicyNever || *spec.ActiveDeadlineSeconds != int64((time.Minute+grace).Seconds()) {
		t.Errorf("the pod is %+v", spec)
	}
	for _, c := range made.Spec.Containers {
		if !*c.SecurityContext.ReadOnlyRootFilesystem || len(c.Env) > 0 {
			t.Errorf("container %s is %+v", c.Name, c)
		}
	}
	made.Spec.Containers[0].SecurityContext.Privileged = new(true)
	if policy.AggregateCheckResults(checks.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &made.ObjectMeta, &made.Spec)).Allowed {
		t.Error("the check allows everything")
	}
}

func TestNetworkMarks(t *testing.T) {
	s := sample(t)
	closed := podOf(t, newExecutor(t, Options{}), s, Placement{})
	s.Network = true
	open := podOf(t, newExecutor(t, Options{}), s, Placement{})
	if closed.Labels[network] != without || closed.Annotations[network] != without {
		t.Errorf("without: %v, %v", closed.Labels, closed.Annotations)
	}
	if _, ok := open.Labels[network]; ok || open.Annotations[network] != "" {
		t.Errorf("with: %v, %v", open.Labels, open.Annotations)
	}
}

func TestPlacement(t *testing.T) {
	runtimeClass := "kata"
	p := Placement{
		Scheduling: v1alpha1.BuildScheduling{
			NodeSelector: map[string]string{"pool": "builds", corev1.LabelArchStable: "arm64"}, PriorityClassName: "low",
			Tolerations: []corev1.Toleration{{Key: "builds"}}, RuntimeClassName: &runtimeClass, SchedulerName: "other",
		},
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("2Gi")},
	}
	if got := placementOf(With(t.Context(), p)); !cmp.Equal(got, p) {
		t.Errorf("the context gives %+v", got)
	}
	spec := podOf(t, newExecutor(t, Options{Architecture: "amd64", PullSecret: "pull"}), sample(t), p).Spec
	want := map[string]string{"pool": "builds", corev1.LabelArchStable: "arm64", corev1.LabelOSStable: "linux"}
	if diff := cmp.Diff(want, spec.NodeSelector); diff != "" {
		t.Errorf("node selector (-want +got):\n%s", diff)
	}
	if spec.PriorityClassName != "low" || spec.SchedulerName != "other" || *spec.RuntimeClassName != "kata" || len(spec.Tolerations) != 1 ||
		spec.ImagePullSecrets[0].Name != "pull" {
		t.Errorf("the pod is %+v", spec)
	}
	asks := spec.Containers[1].Resources
	if asks.Requests.Cpu().String() != "100m" || asks.Limits.Cpu().String() != "500m" || asks.Requests.Memory().String() != "1Gi" {
		t.Errorf("it asks for %v of %v: less processor than its limit, and no more memory than it", asks.Requests, asks.Limits)
	}
}

func TestMountsBecomeVolumes(t *testing.T) {
	type mount struct {
		Path, Volume string
		ReadOnly     bool
	}
	var got []mount
	for _, m := range podOf(t, newExecutor(t, Options{}), sample(t), Placement{}).Spec.Containers[1].VolumeMounts {
		got = append(got, mount{m.MountPath, m.Name + "/" + m.SubPath, m.ReadOnly})
	}
	want := map[string]mount{
		"/ro": {"/ro", "disk/0", true}, "/etc/one": {"/etc/one", "disk/1", true}, "/w": {"/w", "disk/2", false},
		"/scratch": {"/scratch", "memory-2/d", false}, "/run/key": {"/run/key", "data/4", true},
	}
	for _, m := range got {
		if w, ok := want[m.Path]; ok && w != m {
			t.Errorf("got %+v, want %+v", m, w)
		}
		delete(want, m.Path)
	}
	if len(want) > 0 || len(got) != 8 { // and /tmp, /run, /dev/shm
		t.Errorf("missing %v in %v", want, got)
	}
}

func TestStepsThatNoPodCanBe(t *testing.T) {
	root := sample(t)
	root.Layers[0] = executor.Layer{DiffID: "sha256:" + fill, Open: nothing}
	colon := root
	root.UID = 0
	colon.Mounts = []executor.Mount{{Kind: executor.Tmpfs, Target: "/a:b"}}
	for name, s := range map[string]executor.Step{"root": root, "a colon": colon} {
		if _, err := newExecutor(t, Options{}).Run(t.Context(), s, nil, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOrphans: nobody's pods are deleted, and no pod of somebody's.
func TestOrphans(t *testing.T) {
	now := time.Now()
	e := newExecutor(t, Options{Owner: "me"})
	made := func(owner, process string, expires time.Duration, edit func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Labels: map[string]string{ownerLabel: owner, selfLabel: process}, CreationTimestamp: metav1.NewTime(now.Add(-time.Hour)),
			Annotations: map[string]string{expiresNote: now.Add(expires).Format(time.RFC3339)},
		}}
		if edit != nil {
			edit(p)
		}
		return p
	}
	finished := func(ago time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodFailed
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(now.Add(-ago))}}}}
		}
	}
	for _, c := range []struct {
		name string
		pod  *corev1.Pod
		want bool
	}{
		{"mine", made("me", e.self, -time.Hour, nil), false},
		{"mine of an earlier process", made("me", "before", time.Hour, nil), true},
		{"another's that may live", made("you", "x", time.Hour, nil), false},
		{"another's past its time", made("you", "x", -time.Minute, nil), true},
		{"another's that has just ended", made("you", "x", time.Hour, finished(time.Minute)), false},
		{"another's that ended long ago", made("you", "x", time.Hour, finished(time.Hour)), true},
		{"another's without a time", made("you", "x", time.Hour, func(p *corev1.Pod) { p.Annotations = nil }), true},
		{"one that is deleted already", made("me", "before", time.Hour, func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: now} }), false},
	} {
		if got := e.orphan(c.pod, now); got != c.want {
			t.Errorf("%s: orphan is %t", c.name, got)
		}
	}
}
