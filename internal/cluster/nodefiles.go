package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/aside"
)

// socket is containerd's, inside the node.
const socket = "/run/containerd/containerd.sock"

// PodNetwork is the annotation by which a pod says what network it gets on a node of ours:
// "none" is an address that leads nowhere. Without it, a pod reaches other pods, services, this
// machine and what this machine reaches. Any other value keeps the pod from starting.
const PodNetwork = "plimsoll.dev/network"

// writeFiles makes the folders and the configuration that the node's programs read.
func (n *node) writeFiles() error {
	for target, name := range n.kept() {
		if err := errors.Join(os.MkdirAll(n.path(name), 0o700), os.MkdirAll(target, 0o755)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll("/run/containerd", 0o711); err != nil {
		return err
	}
	if err := n.linkPlugins(); err != nil {
		return err
	}
	for name, document := range map[string]any{
		"kubelet.json": n.kubeletConfig(), "kube-proxy.json": n.proxyConfig(), "cni/10-plimsoll.conflist": n.cniConfig(),
	} {
		if err := writeJSON(n.path("etc", name), document); err != nil {
			return err
		}
	}
	var config bytes.Buffer
	if err := containerdConfig.Execute(&config, n.containerdValues()); err != nil {
		return err
	}
	if err := aside.WriteBytes(n.path("etc", "containerd.toml"), config.Bytes()); err != nil {
		return err
	}
	if err := aside.WriteBytes(n.path("etc", "resolv.conf"), resolvers()); err != nil {
		return err
	}
	return os.MkdirAll(n.path("etc", "registries"), 0o755)
}

// users are the node's programs, as the API server knows them.
func (n *node) users() []certificate {
	return []certificate{
		{name: "kubelet", common: "system:node:" + n.name, groups: []string{"system:nodes"}, names: []string{n.name, n.cluster.kept.Network.node().String()}},
		{name: "kube-proxy", common: "system:kube-proxy"},
	}
}

// linkPlugins puts Debian's CNI plugins and ours into one folder.
func (n *node) linkPlugins() error {
	found, err := filepath.Glob(filepath.Join(n.plugins, "*"))
	if err != nil {
		return err
	}
	folder := n.path("plugins")
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o755)); err != nil {
		return err
	}
	for _, plugin := range found {
		if err := os.Symlink(plugin, filepath.Join(folder, filepath.Base(plugin))); err != nil {
			return err
		}
	}
	return os.Symlink(n.podProgram(), filepath.Join(folder, "plimsoll"))
}

func (n *node) containerd() program {
	return program{name: "containerd", path: "containerd", args: []string{"--config", n.path("etc", "containerd.toml")}, enter: n.enter}
}

// containerdConfig is for containerd 1.6 and 1.7
// (https://github.com/containerd/containerd/blob/release/1.6/docs/cri/config.md).
var containerdConfig = template.Must(template.New("containerd").Parse(`version = 2
root = {{.Root}}
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "` + socket + `"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "` + pauseImage + `"
restrict_oom_score_adj = {{.Restricted}}
netns_mounts_under_state_dir = true
enable_unprivileged_ports = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{{.Snapshotter}}"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {{.Plugins}}
conf_dir = {{.Networks}}
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = {{.Registries}}
`))

func (n *node) containerdValues() any {
	snapshotter := "native"
	if mayOverlay(n.path("containerd")) {
		snapshotter = "overlayfs"
	}
	return struct {
		Root, Plugins, Networks, Registries, Snapshotter string
		Restricted                                       bool
	}{
		strconv.Quote(n.path("containerd")), strconv.Quote(n.path("plugins")), strconv.Quote(n.path("etc", "cni")),
		strconv.Quote(n.path("etc", "registries")), snapshotter, !mayLowerOOMScore(),
	}
}

// mayOverlay says whether the folder's filesystem can be the upper one of an overlay.
func mayOverlay(folder string) bool {
	if err := os.MkdirAll(folder, 0o711); err != nil {
		return false
	}
	dir, err := os.MkdirTemp(folder, "overlay-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return false
		}
	}
	options := fmt.Sprintf("lowerdir=%s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
	merged := filepath.Join(dir, "merged")
	return unix.Mount("overlay", merged, "overlay", 0, options) == nil && unix.Unmount(merged, 0) == nil
}

// mayLowerOOMScore says whether this process may make others likelier to survive, as
// capabilities(7) says of CAP_SYS_RESOURCE.
func mayLowerOOMScore() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// cniConfig has our plugin decide which pod gets a network, and Debian's make it. This machine lends
// pods its address (see openWayOut) and has a route to theirs, so the node does not: bridge would fail to
// take back, of a pod that was left alone, what it never gave it.
func (n *node) cniConfig() any {
	return map[string]any{
		"cniVersion": "1.0.0", "name": "plimsoll",
		"plugins": []any{
			map[string]any{
				"type": "plimsoll", "capabilities": map[string]bool{"io.kubernetes.cri.pod-annotations": true},
				"delegate": map[string]any{
					"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "mtu": largestPacket(),
					"ipam": map[string]any{
						"type": "host-local", "dataDir": "/run/containerd/addresses",
						"ranges": []any{[]any{map[string]any{"subnet": n.cluster.kept.Network.pods().String()}}},
						"routes": []any{map[string]string{"dst": "0.0.0.0/0"}},
					},
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}
}

func (n *node) kubelet() program {
	return program{name: "kubelet", path: n.cluster.program, enter: n.enter, args: []string{
		"kubelet", "--config=" + n.path("etc", "kubelet.json"),
		"--kubeconfig=" + n.cluster.path("etc", "kubelet.kubeconfig"), "--cert-dir=/var/lib/kubelet/pki",
		"--hostname-override=" + n.name, "--node-ip=" + n.cluster.kept.Network.node().String(),
	}}
}

// kubeletConfig is a KubeletConfiguration
// (https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1).
func (n *node) kubeletConfig() any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": map[string]any{
			"anonymous": map[string]bool{"enabled": false}, "webhook": map[string]bool{"enabled": true},
			"x509": map[string]string{"clientCAFile": n.cluster.path("pki", "ca.crt")},
		},
		"authorization": map[string]string{"mode": "Webhook"},
		"address":       n.cluster.kept.Network.node().String(),
		"tlsCertFile":   n.cluster.path("pki", "kubelet.crt"), "tlsPrivateKeyFile": n.cluster.path("pki", "kubelet.key"),
		"enableProfilingHandler":   false,
		"containerRuntimeEndpoint": "unix://" + socket,
		"resolvConf":               n.path("etc", "resolv.conf"),
		"volumePluginDir":          n.path("volumeplugins"),
		"cgroupDriver":             "cgroupfs", "cgroupRoot": n.cgroup(), "enforceNodeAllocatable": []string{"pods"},
		"failCgroupV1": false, "failSwapOn": false,
		// The machine is not the kubelet's alone: it may not have every right, and it does
		// not clear images or pods away because other things fill the disk.
		"featureGates":                map[string]bool{"KubeletInUserNamespace": true},
		"oomScoreAdj":                 0,
		"imageGCHighThresholdPercent": 100,
		"evictionHard":                map[string]string{"memory.available": "100Mi", "nodefs.available": "256Mi", "imagefs.available": "256Mi"},
		// After a full disk it takes pods again soon, not after five minutes.
		"evictionPressureTransitionPeriod": "30s",
		"serializeImagePulls":              false, "registryPullQPS": 0,
	}
}

func (n *node) kubeProxy() program {
	return program{name: "kube-proxy", path: n.cluster.program, enter: n.enter, args: []string{
		"kube-proxy", "--config=" + n.path("etc", "kube-proxy.json"),
	}}
}

// proxyConfig is a KubeProxyConfiguration
// (https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1). It leaves the
// kernel's connection tracking as it is, for that is the whole machine's.
func (n *node) proxyConfig() any {
	return map[string]any{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
		"clientConnection": map[string]string{"kubeconfig": n.cluster.path("etc", "kube-proxy.kubeconfig")},
		"hostnameOverride": n.name, "mode": "iptables", "clusterCIDR": n.cluster.kept.Network.pods().String(),
		"conntrack":   map[string]any{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
		"oomScoreAdj": 0,
	}
}

// resolvers gives the machine's resolv.conf for pods. Where that names only a resolver on the
// machine's loopback, which is none of theirs, systemd keeps the true ones in a file of its own.
func resolvers() []byte {
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // a machine without it has no resolver: nor have its pods
		}
		if kept := withoutLoopback(string(text)); kept != "" {
			return []byte(kept)
		}
	}
	return nil
}

// withoutLoopback gives a resolv.conf without the resolvers on loopback, or "" when no other is
// left.
func withoutLoopback(text string) string {
	var kept strings.Builder
	found := false
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == "nameserver" {
			if strings.HasPrefix(words[1], "127.") || words[1] == "::1" {
				continue
			}
			found = true
		}
		kept.WriteString(line)
	}
	if !found {
		return ""
	}
	return kept.String()
}
