package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"plimsoll.dev/plimsoll/internal/aside"
)

// renewEvery is how often certificates are looked at while the cluster runs. The parts read
// their files again by themselves.
const renewEvery = 12 * time.Hour

// trusted are the cluster's authorities. etcd trusts one of its own, so that no other certificate
// opens it; so does the API server for the front of aggregated APIs, who says whom he speaks for.
type trusted struct {
	users, etcd, front *authority
}

// writeFiles makes all that the parts read: certificates, keys, kubeconfigs and configuration.
// What is secret and there already stays.
func (c *Cluster) writeFiles(now time.Time) error {
	for folder, opened := range map[string]**authority{"": &c.trusted.users, "etcd": &c.trusted.etcd, "front-proxy": &c.trusted.front} {
		var err error
		if *opened, err = openAuthority(c.path("pki", folder), now); err != nil {
			return err
		}
	}
	if err := c.certify(now); err != nil {
		return err
	}
	if err := once(c.path("pki", "service-accounts.key"), serviceAccountKey); err != nil {
		return err
	}
	if err := once(c.path("pki", "encryption.json"), encryption); err != nil {
		return err
	}
	for name, document := range map[string]any{"authentication.json": authentication(), "audit.json": auditPolicy()} {
		if err := writeJSON(c.path("etc", name), document); err != nil {
			return err
		}
	}
	if c.node != nil {
		return c.node.writeFiles()
	}
	return nil
}

// certify issues the certificates that are missing or near their end, and the kubeconfigs.
func (c *Cluster) certify(now time.Time) error {
	serving := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1",
		c.kept.Network.host().String(), c.kept.Network.service().String()}
	users := []certificate{
		{name: "admin", common: "admin", groups: []string{"system:masters"}},
		{name: "kube-controller-manager", common: "system:kube-controller-manager"},
		{name: "kube-scheduler", common: "system:kube-scheduler"},
	}
	if c.node != nil {
		users = append(users, c.node.users()...)
	}
	for _, issue := range []struct {
		by    *authority
		certs []certificate
	}{
		{c.trusted.etcd, []certificate{{name: "etcd", common: "etcd", names: []string{"localhost", "127.0.0.1"}}, {name: "kube-apiserver", common: "kube-apiserver"}}},
		{c.trusted.front, []certificate{{name: "front-proxy", common: "front-proxy"}}},
		{c.trusted.users, []certificate{{name: "kube-apiserver", common: "kube-apiserver", names: serving}, {name: "kubelet-client", common: "kube-apiserver", groups: []string{"system:masters"}}}},
		{c.trusted.users, users},
	} {
		for _, cert := range issue.certs {
			if err := issue.by.issue(cert, now); err != nil {
				return err
			}
		}
	}
	for _, user := range users {
		if err := c.writeKubeconfig(user.name); err != nil {
			return err
		}
	}
	return nil
}

// renew keeps the certificates fresh until ctx ends.
func (c *Cluster) renew(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := c.certify(now); err != nil {
				c.opt.Logger.Error("certificates were not renewed", "error", err)
			}
		}
	}
}

// writeKubeconfig writes the named user's kubeconfig. The administrator's is whole, since people
// take it elsewhere; those of parts name files, which the parts read again when they change.
func (c *Cluster) writeKubeconfig(user string) error {
	tls := c.trusted.users.client(user)
	cluster := &clientcmdapi.Cluster{Server: c.server(), CertificateAuthority: tls.CAFile}
	info := &clientcmdapi.AuthInfo{ClientCertificate: tls.CertFile, ClientKey: tls.KeyFile}
	config := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"plimsoll": cluster},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: info},
		Contexts:       map[string]*clientcmdapi.Context{"plimsoll": {Cluster: "plimsoll", AuthInfo: user}},
		CurrentContext: "plimsoll",
	}
	path := c.path("etc", user+".kubeconfig")
	if user == "admin" {
		path = c.Kubeconfig()
		if err := clientcmdapi.FlattenConfig(&config); err != nil {
			return err
		}
	}
	text, err := clientcmd.Write(config)
	if err != nil {
		return err
	}
	return aside.WritePrivate(path, text)
}

// once writes a secret file unless it is there.
func once(path string, make func() ([]byte, error)) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := make()
	if err != nil {
		return err
	}
	return aside.WritePrivate(path, text)
}

func serviceAccountKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return encodeKey(key)
}

// encryption says how the API server writes secrets into etcd.
// https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data
func encryption() ([]byte, error) {
	key := make([]byte, 32)
	rand.Read(key)
	return json.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
		"resources": []any{map[string]any{
			"resources": []string{"secrets"},
			"providers": []any{
				map[string]any{"secretbox": map[string]any{"keys": []any{
					map[string]string{"name": "first", "secret": base64.StdEncoding.EncodeToString(key)},
				}}},
				map[string]any{"identity": map[string]any{}},
			},
		}},
	})
}

// authentication lets who has no name ask only whether the API server is well.
func authentication() any {
	return map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"anonymous": map[string]any{"enabled": true, "conditions": []any{
			map[string]string{"path": "/livez"}, map[string]string{"path": "/readyz"}, map[string]string{"path": "/healthz"},
		}},
	}
}

// auditPolicy has who changed what written down, but no content, for content may be secret,
// and nothing of what the parts do all the time.
func auditPolicy() any {
	none := func(rule map[string]any) map[string]any { rule["level"] = "None"; return rule }
	return map[string]any{
		"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
		"omitStages": []string{"RequestReceived"},
		"rules": []any{
			none(map[string]any{"verbs": []string{"get", "list", "watch"}}),
			none(map[string]any{"resources": []any{
				map[string]any{"group": "", "resources": []string{"events"}},
				map[string]any{"group": "events.k8s.io"},
				map[string]any{"group": "coordination.k8s.io"},
				map[string]any{"group": "authentication.k8s.io"},
				map[string]any{"group": "authorization.k8s.io"},
			}}),
			none(map[string]any{"users": []string{"system:apiserver", "system:kube-scheduler", "system:kube-controller-manager"}}),
			none(map[string]any{"userGroups": []string{"system:nodes", "system:serviceaccounts:kube-system"}}),
			map[string]any{"level": "Metadata"},
		},
	}
}

func writeJSON(path string, document any) error {
	text, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return err
	}
	return aside.WriteBytes(path, append(text, '\n'))
}
