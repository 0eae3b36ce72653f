// Package pods takes a test and gives it a cluster that runs steps as pods, on a real kubelet
// and containerd. The tests of executor/pod that need one are here, since a cluster stands on
// its floor.
package pods

import (
	"context"
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
	"plimsoll.dev/plimsoll/internal/executor/pod"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Bed is a cluster whose one node is this machine, a registry that it pulls from, and what
// an executor of pods needs, with no more rights than it says.
type Bed struct {
	Cluster *cluster.Cluster
	Config  *rest.Config // the executor's, in the name of its service account
	Images  *pod.Repository
	Admin   kubernetes.Interface

	push string // the repository of steps for this process, which speaks plainly to its own machine only
	pull string // and for nodes
}

// New gives a Bed that ends with the test. It needs root.
func New(t testing.TB) *Bed {
	t.Helper()
	b := &Bed{Cluster: clustertest.Node(t)}
	var err error
	if b.Admin, err = kubernetes.NewForConfig(b.Cluster.Config()); err != nil {
		t.Fatal(err)
	}
	b.serveRegistry(t)
	b.install(t)
	if b.Images, err = pod.NewRepository(&oci.Registries{}, b.push, b.pull, agent(t), runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	return b
}

// serveRegistry serves an empty registry where pods' nodes and this process reach it.
func (b *Bed) serveRegistry(t testing.TB) {
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
	outside := serve(b.Cluster.Address())
	b.push, b.pull = serve("127.0.0.1")+"/steps", outside+"/steps"
	if err := b.Cluster.Trust(cluster.Registry{Host: outside, Plain: true}); err != nil {
		t.Fatal(err)
	}
}

// install makes what pod.Objects says, and a service account with the rights of pod.Rules.
func (b *Bed) install(t testing.TB) {
	t.Helper()
	c, err := client.New(b.Cluster.Config(), client.Options{})
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
	b.Config = rest.CopyConfig(b.Cluster.Config())
	b.Config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + pod.DefaultNamespace + ":" + name}
}

// Executor gives one that runs steps as pods of the bed.
func (b *Bed) Executor(t testing.TB, opt pod.Options) *pod.Executor {
	t.Helper()
	e, err := pod.New(b.Config, b.Images, opt)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// agent builds the agent as make does.
func agent(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "plimsoll.dev/plimsoll/internal/executor/pod/agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// Pods gives those that nobody has deleted.
func (b *Bed) Pods(t testing.TB) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	list, err := b.Admin.CoreV1().Pods(pod.DefaultNamespace).List(ctx, metav1.ListOptions{})
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
