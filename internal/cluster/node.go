package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"plimsoll.dev/plimsoll/internal/fault"
)

// node is this machine as the cluster's one node. Its programs and its pods live in namespaces
// of their own: processes, mounts and network. When the first process there ends, the kernel
// ends all others and takes the mounts and the interfaces with them, whatever happened.
type node struct {
	cluster *Cluster
	name    string // in the API
	link    string // the interface on this machine's side
	plugins string // the folder of the CNI plugins that Debian has

	mu    sync.Mutex
	first int // the first process, as this machine knows it; 0 when the node is down
}

// pluginFolders are where Debian and others put CNI plugins.
var pluginFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// newNode gives the node of a cluster, not yet up, when this machine can be one.
func newNode(c *Cluster) (*node, error) {
	if os.Getuid() != 0 {
		return nil, fault.Newf(fault.Usage, "make this machine a node", c.dir, "only root may").
			WithHint("run it as root, or use a cluster that has nodes")
	}
	for tool, pkg := range map[string]string{
		"containerd": "containerd", "ctr": "containerd", "runc": "runc", "ip": "iproute2", "iptables": "iptables",
	} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fault.New(fault.Usage, "make this machine a node", tool, err).WithHint("install it (Debian: apt-get install " + pkg + ")")
		}
	}
	host, _ := os.Hostname() // a machine without a name has a node all the same
	n := &node{cluster: c, name: nodeName(host), link: ours + identify(c.dir)}
	for _, folder := range pluginFolders {
		if _, err := os.Stat(filepath.Join(folder, "bridge")); err == nil {
			n.plugins = folder
		}
	}
	if n.plugins == "" {
		return nil, fault.Newf(fault.Usage, "make this machine a node", "bridge", "there is no such CNI plugin").
			WithHint("install them (Debian: apt-get install containernetworking-plugins)")
	}
	if _, err := os.Stat(n.podProgram()); err != nil {
		return nil, fault.New(fault.NotFound, "make this machine a node", n.podProgram(), err).WithHint("build it with: make bin/kubernetes")
	}
	return n, nil
}

// podProgram gives the path of what stands beneath pods, beside the kubernetes program.
func (n *node) podProgram() string { return n.cluster.program + "-pod" }

// path gives a path in the node's own folder.
func (n *node) path(names ...string) string {
	return n.cluster.path(append([]string{"node"}, names...)...)
}

// up starts the node's namespaces and waits until they and the network are there.
func (n *node) up(ctx context.Context) error {
	if err := n.clear(ctx); err != nil {
		return fault.New(fault.Failed, "clean up what a killed process left of the node", n.cluster.dir, err)
	}
	ground := n.cluster.run(program{
		name: "node", path: n.podProgram(), args: append([]string{"node"}, n.mounts()...),
		flags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		started: n.grounded,
	})
	return n.cluster.wait(ctx, "node's namespaces", []*part{ground}, func() error {
		_, err := n.entry()
		return err
	})
}

// mounts are what the node sees differently from this machine: all that its programs keep at
// places nobody can choose.
func (n *node) mounts() []string {
	mounts := []string{":/run/containerd"}
	for target, name := range n.kept() {
		mounts = append(mounts, n.path(name)+":"+target)
	}
	return mounts
}

// kept are the folders of the machine for which the node has its own.
func (n *node) kept() map[string]string {
	return map[string]string{
		"/var/lib/kubelet": "kubelet", "/var/lib/cni": "cni", "/var/log/pods": "pods", "/var/log/containers": "containers",
	}
}

// grounded waits until the node's first process has made its mounts, connects its network, puts
// away what an earlier one left and then lets the node's programs in.
func (n *node) grounded(pid int, said *os.File) error {
	if _, err := bufio.NewReader(said).ReadString('\n'); err != nil {
		return errors.New("the node's namespaces cannot be made")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	// A kubelet waits long for containers whose cgroups are there and which are not.
	if err := errors.Join(n.removeCgroups(ctx), n.makeCgroups(), n.connect(ctx, pid)); err != nil {
		return err
	}
	n.mu.Lock()
	n.first = pid
	n.mu.Unlock()
	return nil
}

// entry gives the process by which the node can be entered now.
func (n *node) entry() (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.first == 0 || identity(n.first) == "" {
		return 0, errors.New("the node is down")
	}
	return n.first, nil
}

// enter moves the calling thread into the node.
func (n *node) enter() error {
	first, err := n.entry()
	if err != nil {
		return err
	}
	return enterNamespaces(first, unix.CLONE_NEWPID|unix.CLONE_NEWNS|unix.CLONE_NEWNET)
}

// enterNamespaces moves the calling thread, which must end soon and start only processes, into
// the namespaces of another process.
func enterNamespaces(pid int, which int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	// Threads share what their current folder is, unless told not to.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	return os.NewSyscallError("setns", unix.Setns(fd, which))
}

// ready starts the node's programs and waits until the API says that the node takes pods.
func (n *node) ready(ctx context.Context) error {
	c, archive := n.cluster, n.path("pause.tar")
	if err := writePause(archive, n.podProgram()); err != nil {
		return fault.New(fault.Failed, "make the pause image", archive, err)
	}
	containerd := c.run(n.containerd())
	if err := c.wait(ctx, "containerd", []*part{containerd}, func() error { return n.load(ctx, archive) }); err != nil {
		return err
	}
	began := time.Now().Truncate(time.Second) // as exactly as the API tells times
	proxy, kubelet := c.run(n.kubeProxy()), c.run(n.kubelet())
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return fault.New(fault.Failed, "reach the API server", c.server(), err)
	}
	return c.wait(ctx, "node", []*part{containerd, kubelet, proxy}, func() error {
		found, err := client.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return takesPods(found, began)
	})
}

// takesPods says whether the node has been ready since then, and nothing keeps pods away.
func takesPods(found *corev1.Node, began time.Time) error {
	for _, condition := range found.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		if condition.Status != corev1.ConditionTrue || condition.LastHeartbeatTime.Time.Before(began) {
			return fmt.Errorf("not ready: %s", condition.Message)
		}
		if len(found.Spec.Taints) > 0 {
			return fmt.Errorf("tainted: %s", found.Spec.Taints[0].Key)
		}
		return nil
	}
	return errors.New("it has not said how it is")
}

// down removes what the node left on this machine.
func (n *node) down() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.clear(ctx); err != nil {
		return fault.New(fault.Failed, "clean up after the node", n.link, err).WithHint("a later start of this cluster cleans up too")
	}
	return nil
}

// clear removes what outlives the node's processes: rules for packets, and cgroups.
func (n *node) clear(ctx context.Context) error {
	return errors.Join(n.disconnect(ctx), n.removeCgroups(ctx))
}

// nodeName gives a machine's name as the API allows it (RFC 1123).
func nodeName(host string) string {
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(host)), "-.")
	if name == "" || len(name) > 63 {
		return "node"
	}
	return name
}
