package cluster

import "net/netip"

// network is the /22 that a cluster with a node has for itself: a link between this machine and
// the node, a range for services and one for pods.
type network struct {
	Base netip.Addr `json:"base"`
}

func (n network) host() netip.Addr       { return n.Base.Next() }
func (n network) node() netip.Addr       { return n.host().Next() }
func (n network) services() netip.Prefix { return netip.PrefixFrom(n.at(1), 24) }
func (n network) service() netip.Addr    { return n.at(1).Next() }
func (n network) pods() netip.Prefix     { return netip.PrefixFrom(n.at(2), 23) }

func (n network) at(third byte) netip.Addr {
	b := n.Base.As4()
	b[2] += third
	return netip.AddrFrom4(b)
}
