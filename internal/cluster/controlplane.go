package cluster

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"plimsoll.dev/plimsoll/internal/fault"
)

// etcd is tuned for one machine: it keeps little history, and fails rather than fill the disk.
func (c *Cluster) etcd() program {
	client := loopback(c.kept.EtcdPort)
	peer := loopback(c.kept.PeerPort)
	cert, key, ca := c.path("pki", "etcd", "etcd.crt"), c.path("pki", "etcd", "etcd.key"), c.path("pki", "etcd", "ca.crt")
	args := []string{
		"--name=plimsoll", "--data-dir=" + c.path("etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=plimsoll=" + peer,
		"--client-cert-auth", "--cert-file=" + cert, "--key-file=" + key, "--trusted-ca-file=" + ca,
		"--peer-client-cert-auth", "--peer-cert-file=" + cert, "--peer-key-file=" + key, "--peer-trusted-ca-file=" + ca,
		"--quota-backend-bytes=4294967296", "--max-wals=2", "--max-snapshots=2", "--log-level=warn",
	}
	if c.opt.Forgetful {
		args = append(args, "--unsafe-no-fsync")
	}
	return program{name: "etcd", path: c.program, args: append([]string{"etcd"}, args...)}
}

func (c *Cluster) apiServer() program {
	etcd := func(name string) string { return c.path("pki", "etcd", name) }
	args := []string{
		"--etcd-servers=" + loopback(c.kept.EtcdPort),
		"--etcd-cafile=" + etcd("ca.crt"), "--etcd-certfile=" + etcd("kube-apiserver.crt"), "--etcd-keyfile=" + etcd("kube-apiserver.key"),
		"--encryption-provider-config=" + c.path("pki", "encryption.json"),
		"--bind-address=" + c.Address(), "--secure-port=" + strconv.Itoa(c.kept.APIPort),
		"--tls-cert-file=" + c.path("pki", "kube-apiserver.crt"), "--tls-private-key-file=" + c.path("pki", "kube-apiserver.key"),
		"--client-ca-file=" + c.path("pki", "ca.crt"),
		"--authentication-config=" + c.path("etc", "authentication.json"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.path("pki", "service-accounts.key"),
		"--service-account-signing-key-file=" + c.path("pki", "service-accounts.key"),
		"--requestheader-client-ca-file=" + c.path("pki", "front-proxy", "ca.crt"),
		"--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.path("pki", "front-proxy", "front-proxy.crt"),
		"--proxy-client-key-file=" + c.path("pki", "front-proxy", "front-proxy.key"),
		"--audit-policy-file=" + c.path("etc", "audit.json"), "--audit-log-path=" + c.path("logs", "audit.log"),
		"--audit-log-maxsize=16", "--audit-log-maxbackup=3",
		"--profiling=false", "--service-cluster-ip-range=" + c.kept.Network.services().String(),
	}
	if c.node == nil {
		// Without pods nobody asks where the service "kubernetes" leads.
		args = append(args, "--endpoint-reconciler-type=none")
	} else {
		args = append(args,
			"--kubelet-certificate-authority="+c.path("pki", "ca.crt"),
			"--kubelet-client-certificate="+c.path("pki", "kubelet-client.crt"),
			"--kubelet-client-key="+c.path("pki", "kubelet-client.key"),
			"--kubelet-preferred-address-types=InternalIP")
	}
	return program{
		name: "kube-apiserver", path: c.program, args: append([]string{"kube-apiserver"}, args...),
		// Requests leave much behind beside a small heap: a fifth of its time went into collecting that.
		env: []string{"GOGC=200"},
	}
}

func (c *Cluster) controllerManager() program {
	return program{name: "kube-controller-manager", path: c.program, args: []string{
		"kube-controller-manager",
		"--kubeconfig=" + c.path("etc", "kube-controller-manager.kubeconfig"),
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + c.path("pki", "service-accounts.key"),
		"--root-ca-file=" + c.path("pki", "ca.crt"),
		"--cluster-signing-cert-file=" + c.path("pki", "ca.crt"), "--cluster-signing-key-file=" + c.path("pki", "ca.key"),
		"--leader-elect=false", "--profiling=false", "--secure-port=0",
		"--kube-api-qps=500", "--kube-api-burst=1000", // the default holds the start back for seconds
	}}
}

func (c *Cluster) scheduler() program {
	return program{name: "kube-scheduler", path: c.program, args: []string{
		"kube-scheduler",
		"--kubeconfig=" + c.path("etc", "kube-scheduler.kubeconfig"),
		"--leader-elect=false", "--profiling=false", "--secure-port=0",
	}}
}

// server gives the API server's address.
func (c *Cluster) server() string {
	return "https://" + net.JoinHostPort(c.Address(), strconv.Itoa(c.kept.APIPort))
}

func loopback(port int) string { return "https://127.0.0.1:" + strconv.Itoa(port) }

// apiReady waits until the API server says of itself that it is ready.
func (c *Cluster) apiReady(ctx context.Context, parts ...*part) error {
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return fault.New(fault.Failed, "reach the API server", c.server(), err)
	}
	return c.wait(ctx, "API server", parts, func() error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// accountsReady waits until the first namespaces have the service accounts that pods run as.
func (c *Cluster) accountsReady(ctx context.Context, controllers *part) error {
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return fault.New(fault.Failed, "reach the API server", c.server(), err)
	}
	return c.wait(ctx, "first namespaces", []*part{controllers}, func() error {
		for _, namespace := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem} {
			if _, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// tries is how often a part may end before it is ready: more is no accident.
const tries = 4

// wait asks until the answer is nil. It gives up when ctx ends or one of the parts that the
// answer depends on ends again and again.
func (c *Cluster) wait(ctx context.Context, what string, parts []*part, ask func() error) error {
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			c.phases = append(c.phases, Phase{Name: what, Took: time.Since(began)})
			return nil
		}
		for _, p := range parts {
			if times, why := p.end(); times >= tries {
				return fault.New(fault.Failed, "start "+p.name, p.log.path, fmt.Errorf("it ended %d times, last with %w: %s", times, why, logTail(p.log.path))).
					WithHint("the log " + p.log.path + " says more")
			}
		}
		select {
		case <-ctx.Done():
			kind := fault.Unavailable
			if context.Cause(ctx) == context.Canceled {
				kind = fault.Canceled
			}
			if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
				kind = fault.Failed
			}
			return fault.New(kind, "start the cluster", what, fmt.Errorf("not ready in time: %w", err)).
				WithHint("the logs in " + c.path("logs") + " say why")
		case <-tick.C:
		}
	}
}
