package cluster

import (
	"crypto/tls"
	"os"
	"testing"
	"time"
)

// What the tests look at from outside.
var Identity = identity

// PauseImage is the one image that every node has.
const PauseImage = pauseImage

// Link gives the name of the interface, the rules and the cgroup of a cluster's node.
func Link(c *Cluster) string { return c.node.link }

// WithNode gives a cluster that is not running, with a node.
func WithNode(dir string) *Cluster {
	c := &Cluster{dir: dir}
	c.node = &node{cluster: c}
	return c
}

// Certify renews the cluster's certificates as if it were then.
func Certify(c *Cluster, then time.Time) error { return c.certify(then) }

// Issue gives a certificate for the names, and its authority's in PEM.
func Issue(t *testing.T, dir string, names ...string) (tls.Certificate, []byte) {
	t.Helper()
	a, err := openAuthority(dir, time.Now())
	if err == nil {
		err = a.issue(certificate{name: "server", common: "server", names: names}, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(a.file("server.crt"), a.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(a.file("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return pair, authority
}
