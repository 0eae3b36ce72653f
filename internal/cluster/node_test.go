package cluster_test

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TestNode looks at one cluster with a node from all sides, and breaks it last.
func TestNode(t *testing.T) {
	t.Parallel() // beside the other node's test: two on one machine do not meet
	s := newSite(t, clustertest.Node(t))
	for _, side := range []struct {
		name string
		look func(*testing.T, *site)
	}{
		{"it pulls from a registry by its certificate", pulls},
		{"it runs images of an archive", imported},
		{"pods and this machine reach services", services},
		{"pods are restricted where they are to be", restricted},
		{"a pod without a network reaches nothing", isolated},
		{"no pod runs that says nonsense of its network", nonsense},
		{"pods outlive containerd and the kubelet", outlive},
		{"the node comes back", comesBack},
	} {
		t.Run(side.name, func(t *testing.T) { side.look(t, s) })
	}
}

// TestKilledParentTakesItsNodeAlong kills the process that runs a node with a pod on it: nothing
// runs on, the next start has the pod run again, and its end leaves nothing on the machine.
func TestKilledParentTakesItsNodeAlong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stop(t, start(t, dir, cluster.Options{Forgetful: true})) // a control plane may get a node later
	kill := startElsewhere(t, dir, true)
	api := clientOf(t, filepath.Join(dir, "admin.kubeconfig"))
	pod := (&site{}).pod("phoenix", "/pod") // the image that every node has
	pod.Spec.RestartPolicy, pod.Spec.Containers[0].Image = corev1.RestartPolicyAlways, cluster.PauseImage
	pod.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
	before := &site{api: api}
	before.create(t, pod)
	before.running(t, "phoenix", 0)
	kill()
	c := start(t, dir, cluster.Options{Node: true})
	after := &site{cluster: c, api: client(t, c)}
	after.running(t, "phoenix", 1)
	stop(t, c)
	nothingRuns(t, dir)
	nothingIsLeft(t, cluster.Link(c))
}

// nothingIsLeft fails for an interface, a rule for packets, a cgroup or a mount that names the
// cluster's link.
func nothingIsLeft(t *testing.T, link string) {
	t.Helper()
	if _, err := net.InterfaceByName(link); err == nil {
		t.Errorf("interface %s is left", link)
	}
	for _, table := range []string{"nat", "filter"} {
		rules, err := exec.Command("iptables", "-w", "-t", table, "-S").Output()
		if err != nil || bytes.Contains(rules, []byte(link)) {
			t.Errorf("table %s: %v\n%s", table, err, rules)
		}
	}
	left, err := filepath.Glob("/sys/fs/cgroup/*/" + link)
	if err != nil || len(left) > 0 {
		t.Errorf("cgroups %s are left, %v", left, err)
	}
}

func pulls(t *testing.T, s *site) {
	if got := s.run(t, "pulled", "echo", "hello"); got != "hello\n" {
		t.Errorf("the pod printed %q", got)
	}
	stranger := serve(t, s.cluster.Address(), t.TempDir()) // nobody said to trust this one
	pod := s.pod("stranger", "echo", "hello")
	pod.Spec.Containers[0].Image = push(t, stranger)
	s.create(t, pod)
	eventually(t, "the pull fails", func() error {
		found, err := s.api.CoreV1().Pods("default").Get(t.Context(), "stranger", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range found.Status.ContainerStatuses {
			if c.State.Waiting != nil && strings.Contains(c.State.Waiting.Message, "certificate signed by unknown authority") {
				return nil
			}
		}
		return fmt.Errorf("%+v", found.Status.ContainerStatuses)
	})
}

func imported(t *testing.T, s *site) {
	archive := filepath.Join(t.TempDir(), "box.tar")
	save(t, archive)
	if err := s.cluster.Import(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	pod := s.pod("imported", "echo", "hello")
	pod.Spec.Containers[0].Image, pod.Spec.Containers[0].ImagePullPolicy = boxName, corev1.PullNever
	s.create(t, pod)
	if got := s.logs(t, "imported"); got != "hello\n" {
		t.Errorf("the pod printed %q", got)
	}
}

func services(t *testing.T, s *site) {
	address := s.server(t, "web")
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web"},
		Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}}
	made, err := s.api.CoreV1().Services("default").Create(t.Context(), service, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{net.JoinHostPort(address, "8080"), net.JoinHostPort(made.Spec.ClusterIP, "80")} {
		eventually(t, "this machine reaches "+to, func() error {
			conn, err := net.DialTimeout("tcp", to, time.Second)
			if err == nil {
				conn.Close()
			}
			return err
		})
	}
	if got := s.run(t, "caller", "wget", "-q", "-O-", "http://"+made.Spec.ClusterIP+"/etc/hostname"); got != "web\n" {
		t.Errorf("a pod got %q from the service", got)
	}
}

func restricted(t *testing.T, s *site) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "strict", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if _, err := s.api.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace is ready", func() error {
		_, err := s.api.CoreV1().ServiceAccounts("strict").Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	pod := s.pod("strict", "echo", "hello")
	_, err := s.api.CoreV1().Pods("strict").Create(t.Context(), pod, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("a pod that may do all gives %v, want it forbidden", err)
	}
	yes, no := true, false
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if _, err := s.api.CoreV1().Pods("strict").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the restricted pod runs", func() error {
		found, err := s.api.CoreV1().Pods("strict").Get(t.Context(), "strict", metav1.GetOptions{})
		if err == nil && found.Status.Phase != corev1.PodSucceeded {
			err = fmt.Errorf("it is %s", found.Status.Phase)
		}
		return err
	})
}

// isolated has an ordinary pod reach all that a pod without a network may not: else the test
// would say nothing.
func isolated(t *testing.T, s *site) {
	outward := serve(t, outwardAddress(t, s), t.TempDir())
	kubernetes, err := s.api.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	targets := []string{
		strings.TrimPrefix(s.cluster.Config().Host, "https://"),
		net.JoinHostPort(kubernetes.Spec.ClusterIP, "443"),
		s.registry.host,
		outward.host,
		net.JoinHostPort(s.server(t, "neighbour"), "8080"),
	}
	var script strings.Builder
	for _, target := range targets {
		host, port, err := net.SplitHostPort(target)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, "nc -w 3 %s %s </dev/null >/dev/null 2>&1 && echo reached %s\n", host, port, target)
	}
	script.WriteString("ip route; ip -4 -o addr show dev eth0 | grep -o 'inet [^ ]*'; true\n")
	got := s.run(t, "connected", "sh", "-c", script.String())
	for _, target := range targets {
		if !strings.Contains(got, "reached "+target+"\n") {
			t.Errorf("an ordinary pod does not reach %s; it printed:\n%s", target, got)
		}
	}
	pod := s.pod("alone", "sh", "-c", script.String())
	pod.Annotations = map[string]string{cluster.PodNetwork: "none"}
	s.create(t, pod)
	if got, want := s.logs(t, "alone"), "inet 192.0.0.8/32\n"; got != want {
		t.Errorf("a pod without a network printed:\n%s\nwant no route and nothing reached:\n%s", got, want)
	}
	// Nor does it have another way round: its neighbours' are not its own.
	second := s.pod("alone-too", "sh", "-c", "ip link | grep -c ^[0-9]")
	second.Annotations = pod.Annotations
	s.create(t, second)
	if got := s.logs(t, "alone-too"); got != "3\n" {
		t.Errorf("a pod without a network has %s interfaces, want loopback and the two ends of one", strings.TrimSpace(got))
	}
	// What it never got is not taken back from it.
	if err := s.api.CoreV1().Pods("default").Delete(t.Context(), "alone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod is gone", func() error {
		_, err := s.api.CoreV1().Pods("default").Get(t.Context(), "alone", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
	warnings, err := s.api.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=alone,reason=FailedKillPod"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range warnings.Items {
		t.Errorf("a pod without a network is not ended at once: %s", e.Message)
	}
}

func nonsense(t *testing.T, s *site) {
	pod := s.pod("nonsense", "echo", "hello")
	pod.Annotations = map[string]string{cluster.PodNetwork: "None"}
	s.create(t, pod)
	eventually(t, "an event says what is wrong", func() error {
		events, err := s.api.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=nonsense"})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if strings.Contains(e.Message, cluster.PodNetwork) && strings.Contains(e.Message, "None") {
				return nil
			}
		}
		return fmt.Errorf("%d events", len(events.Items))
	})
}

func outlive(t *testing.T, s *site) {
	s.server(t, "survivor")
	before := s.find(t, "survivor").Status.ContainerStatuses[0].ContainerID
	for _, name := range []string{"containerd", "kubelet", "kube-proxy"} {
		s.kill(t, name)
	}
	if got := s.run(t, "after-the-kill", "echo", "hello"); got != "hello\n" {
		t.Errorf("a pod after the kill printed %q", got)
	}
	if after := s.find(t, "survivor").Status.ContainerStatuses[0]; after.ContainerID != before || after.RestartCount != 0 {
		t.Errorf("the pod was not left alone: %+v", after)
	}
}

func comesBack(t *testing.T, s *site) {
	pod := s.pod("phoenix", "sleep", "3600")
	pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	s.create(t, pod)
	s.running(t, "phoenix", 0)
	s.kill(t, "node")
	s.running(t, "phoenix", 1)
	if got := s.run(t, "after-the-end", "echo", "hello"); got != "hello\n" {
		t.Errorf("a pod after the node's end printed %q", got)
	}
}

func TestTrustRefusesWhatIsNoHost(t *testing.T) {
	t.Parallel()
	c := cluster.WithNode(t.TempDir())
	for _, host := range []string{"", ".", "..", "../../etc", "a/b", "a b", "a\"b", "a\nb", ".hidden"} {
		if err := c.Trust(cluster.Registry{Host: host}); fault.KindOf(err) != fault.Usage {
			t.Errorf("host %q: %v, want a fault of usage", host, err)
		}
	}
	if err := (&cluster.Cluster{}).Trust(cluster.Registry{Host: "registry.example"}); fault.KindOf(err) != fault.Usage {
		t.Errorf("without a node: %v, want a fault of usage", err)
	}
}

// outwardAddress gives an address of this machine that is not the cluster's, but the way to
// other machines.
func outwardAddress(t *testing.T, s *site) string {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if link.Flags&net.FlagLoopback != 0 || strings.HasPrefix(link.Name, "plim") {
			continue
		}
		addresses, err := link.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil {
				return ip.IP.String()
			}
		}
	}
	return s.cluster.Address() // a machine without any other network
}
