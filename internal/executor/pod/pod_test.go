package pod_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/executortest"
	"plimsoll.dev/plimsoll/internal/executor/pod"
	"plimsoll.dev/plimsoll/internal/oci"
)

// bed is a cluster whose node is this machine, with a registry, and an executor that has no
// more rights than it says it needs.
type bed struct {
	cluster *cluster.Cluster
	config  *rest.Config // the executor's
	images  *pod.Repository
	admin   kubernetes.Interface
	push    string // the steps' repository for this process, which speaks plainly to its own machine only
	pull    string // and for nodes
}

func newBed(t testing.TB) *bed {
	t.Helper()
	b := &bed{cluster: clustertest.Node(t)}
	var err error
	if b.admin, err = kubernetes.NewForConfig(b.cluster.Config()); err != nil {
		t.Fatal(err)
	}
	b.serveRegistry(t)
	b.install(t)
	if b.images, err = pod.NewRepository(&oci.Registries{}, b.push, b.pull, agent(t), runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	return b
}

// serveRegistry serves an empty registry where pods' nodes and this process reach it.
func (b *bed) serveRegistry(t testing.TB) {
	t.Helper()
	server := &http.Server{Handler: registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(t.TempDir())), registry.Logger(log.New(io.Discard, "", 0)))}
	var serving sync.WaitGroup
	t.Cleanup(func() { server.Close(); serving.Wait() })
	serve := func(host string) string {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		serving.Go(func() { _ = server.Serve(l) }) // ends with Close
		return l.Addr().String()
	}
	outside := serve(b.cluster.Address())
	b.push, b.pull = serve("127.0.0.1")+"/steps", outside+"/steps"
	if err := b.cluster.Trust(cluster.Registry{Host: outside, Plain: true}); err != nil {
		t.Fatal(err)
	}
}

// install makes what pod.Objects says, and a service account with the rights of pod.Rules.
func (b *bed) install(t testing.TB) {
	t.Helper()
	c, err := client.New(b.cluster.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const name = "executor"
	meta := metav1.ObjectMeta{Name: name, Namespace: pod.DefaultNamespace}
	objects := append(pod.Objects(),
		&corev1.ServiceAccount{ObjectMeta: meta},
		&rbacv1.Role{ObjectMeta: meta, Rules: pod.Rules()},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: pod.DefaultNamespace}},
		})
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	b.config = rest.CopyConfig(b.cluster.Config())
	b.config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + pod.DefaultNamespace + ":" + name}
}

func (b *bed) executor(t testing.TB, opt pod.Options) *pod.Executor {
	t.Helper()
	e, err := pod.New(b.config, b.images, opt)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// agent builds the agent as make does.
func agent(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// leftovers gives the processes with the mark on the node, which is this machine, and the
// pods that nobody has deleted.
func (b *bed) leftovers(t *testing.T, mark string) []string {
	t.Helper()
	var left []string
	list, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		args, err := os.ReadFile(p + "/cmdline")
		if err == nil && bytes.Contains(args, []byte(mark)) {
			left = append(left, fmt.Sprintf("process %s: %q", filepath.Base(p), args))
		}
	}
	return append(left, b.pods(t)...)
}

// pods gives those that nobody has deleted.
func (b *bed) pods(t testing.TB) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	list, err := b.admin.CoreV1().Pods(pod.DefaultNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			names = append(names, "pod "+p.Name)
		}
	}
	return names
}

// TestConformance runs the suite against a real kubelet and containerd.
func TestConformance(t *testing.T) {
	b := newBed(t)
	e := b.executor(t, pod.Options{})
	executortest.Run(t, func(t *testing.T) executor.Executor { return e }, executortest.Options{
		Leftovers: b.leftovers, OwnIDs: true, NonRoot: true, Copies: true,
		Added:  []string{"sys", "etc/hostname", "etc/hosts", "etc/resolv.conf"},
		Listen: func(t *testing.T) string { return executortest.Greeter(t, b.cluster.Address()) },
	})
}
