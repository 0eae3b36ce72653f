package cluster

import (
	"context"
	"fmt"
	"strings"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Registry is one that the node pulls images from, and how it knows it.
type Registry struct {
	Host      string // as references name it: "registry.example", "100.64.0.1:5000"
	Authority []byte // certificates in PEM that vouch for it beside the machine's own; may be empty
	Plain     bool   // it speaks HTTP without TLS
}

// Trust lets the node pull from a registry, from now on. Its error is Usage for a cluster without
// a node and for a host that is none.
func (c *Cluster) Trust(r Registry) error {
	if c.node == nil {
		return fault.Newf(fault.Usage, "trust a registry", r.Host, "the cluster has no node")
	}
	return c.node.trust(r)
}

func (n *node) trust(r Registry) error {
	if r.Host == "" || strings.ContainsAny(r.Host, "/\\\"' \t\n") || strings.HasPrefix(r.Host, ".") {
		return fault.Newf(fault.Usage, "trust a registry", r.Host, "it is no host, with or without a port")
	}
	scheme, ca := "https", ""
	if r.Plain {
		scheme = "http"
	}
	if len(r.Authority) > 0 {
		path := n.path("etc", "registries", r.Host, "ca.crt")
		if err := aside.WriteBytes(path, r.Authority); err != nil {
			return fault.New(fault.Failed, "trust a registry", r.Host, err)
		}
		ca = fmt.Sprintf("ca = %q\n", path)
	}
	text := fmt.Sprintf("server = %q\n[host.%[1]q]\ncapabilities = [\"pull\", \"resolve\"]\n%s", scheme+"://"+r.Host, ca)
	if err := aside.WriteBytes(n.path("etc", "registries", r.Host, "hosts.toml"), []byte(text)); err != nil {
		return fault.New(fault.Failed, "trust a registry", r.Host, err)
	}
	return nil
}

// Import has the node know the images of an archive, as `docker save` writes it or in OCI's
// layout. Its error is Usage for a cluster without a node.
func (c *Cluster) Import(ctx context.Context, archive string) error {
	if c.node == nil {
		return fault.Newf(fault.Usage, "import images", archive, "the cluster has no node")
	}
	if err := c.node.load(ctx, archive); err != nil {
		return fault.New(fault.Failed, "import images", archive, err)
	}
	return nil
}
