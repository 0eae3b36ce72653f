package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// ours begins the name of every interface that a cluster makes on this machine.
const ours = "plim"

// network is the /22 that a cluster with a node has for itself: a link between this machine and
// the node, a range for services and one for pods.
type network struct {
	Base netip.Addr `json:"base"`
}

func (n network) whole() netip.Prefix    { return netip.PrefixFrom(n.Base, 22) }
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

// identify gives eight letters that name the folder's cluster among all on this machine.
func identify(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:4])
}

// chooseNetwork gives a /22 of the range for networks behind address translation (RFC 6598) that
// this machine does not use. Where it starts to look depends on the cluster's folder.
func chooseNetwork(dir string) (network, error) {
	used, err := usedPrefixes()
	if err != nil {
		return network{}, err
	}
	const all = 1 << 12 // of /22 in the /10
	sum := sha256.Sum256([]byte(dir))
	seed := binary.BigEndian.Uint32(sum[4:])
	for i := range uint32(all) {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 100<<24|64<<16|(seed+i)%all<<10)
		n := network{Base: netip.AddrFrom4(b)}
		if !overlaps(used, n.whole()) {
			return n, nil
		}
	}
	return network{}, errors.New("every network in 100.64.0.0/10 is used on this machine")
}

func overlaps(used []netip.Prefix, p netip.Prefix) bool {
	for _, u := range used {
		if u.Overlaps(p) {
			return true
		}
	}
	return false
}

// usedPrefixes gives what this machine's interfaces and routes name, but for the default route.
func usedPrefixes() ([]netip.Prefix, error) {
	var used []netip.Prefix
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			used = append(used, p)
		}
	}
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil, err
	}
	return append(used, routed(string(routes))...), nil
}

// routed gives where the routes of /proc/net/route lead: its second and eighth columns are
// address and mask, as the machine has them in memory (proc_net(5)).
func routed(table string) []netip.Prefix {
	var found []netip.Prefix
	for line := range strings.Lines(table) {
		columns := strings.Fields(line)
		if len(columns) < 8 {
			continue
		}
		to, err := strconv.ParseUint(columns[1], 16, 32)
		mask, err2 := strconv.ParseUint(columns[7], 16, 32)
		if err != nil || err2 != nil || mask == 0 {
			continue
		}
		var address [4]byte
		binary.NativeEndian.PutUint32(address[:], uint32(to))
		found = append(found, netip.PrefixFrom(netip.AddrFrom4(address), bits.OnesCount32(uint32(mask))))
	}
	return found
}

// connect joins the node, whose first process is pid, with this machine: a pair of interfaces,
// routes to its services and pods, and a way out for its pods.
func (n *node) connect(ctx context.Context, pid int) error {
	unlock, err := lockNetworks()
	if err != nil {
		return err
	}
	defer unlock()
	net, link := n.cluster.kept.Network, n.link
	n.unlink(ctx)
	mtu := strconv.Itoa(largestPacket())
	for _, args := range [][]string{
		{"ip", "link", "add", link, "mtu", mtu, "type", "veth", "peer", "name", "eth0", "mtu", mtu, "netns", strconv.Itoa(pid)},
		{"ip", "addr", "add", net.host().String() + "/30", "dev", link},
		{"ip", "link", "set", link, "up"},
		{"ip", "route", "add", net.services().String(), "via", net.node().String()},
		{"ip", "route", "add", net.pods().String(), "via", net.node().String()},
	} {
		if err := run(ctx, args...); err != nil {
			return err
		}
	}
	inside := func(args ...string) error {
		return onOwnThread(true, func() error {
			if err := enterNamespaces(pid, syscall.CLONE_NEWNET); err != nil {
				return err
			}
			return run(ctx, args...)
		})
	}
	for _, args := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "addr", "add", net.node().String() + "/30", "dev", "eth0"},
		{"ip", "link", "set", "eth0", "up"},
		{"ip", "route", "add", "default", "via", net.host().String()},
	} {
		if err := inside(args...); err != nil {
			return err
		}
	}
	return n.openWayOut(ctx)
}

// largestPacket gives the size of packets that leave this machine whole, whichever way: pods use
// no larger ones.
func largestPacket() int {
	size := 1500
	links, err := net.Interfaces()
	if err != nil {
		return size
	}
	for _, link := range links {
		if link.Flags&net.FlagUp != 0 && link.Flags&net.FlagLoopback == 0 {
			size = min(size, max(link.MTU, 1280))
		}
	}
	return size
}

// openWayOut lets packets of the node leave this machine under its address.
func (n *node) openWayOut(ctx context.Context) error {
	if err := n.closeWayOut(ctx); err != nil { // what a killed process left
		return err
	}
	for _, rule := range [][]string{
		{"-t", "nat", "-A", "POSTROUTING", "-s", n.cluster.kept.Network.whole().String(), "!", "-o", n.link, "-j", "MASQUERADE"},
		{"-t", "filter", "-I", "FORWARD", "-i", n.link, "-j", "ACCEPT"},
		{"-t", "filter", "-I", "FORWARD", "-o", n.link, "-j", "ACCEPT"},
	} {
		if err := run(ctx, append(append([]string{"iptables", "-w"}, rule...), "-m", "comment", "--comment", n.link)...); err != nil {
			return err
		}
	}
	return forward()
}

// closeWayOut removes this cluster's rules, and those that clusters left whose process was killed
// and whose folder is gone. The name of its link is the comment of each rule.
func (n *node) closeWayOut(ctx context.Context) error {
	for _, table := range []string{"nat", "filter"} {
		rules, err := exec.CommandContext(ctx, "iptables", "-w", "-t", table, "-S").Output()
		if err != nil {
			return fmt.Errorf("iptables -t %s -S: %w", table, err)
		}
		for line := range strings.Lines(string(rules)) {
			rule, link := appended(line)
			if link != n.link && (!strings.HasPrefix(link, ours) || linked(link)) {
				continue
			}
			if err := run(ctx, append([]string{"iptables", "-w", "-t", table, "-D"}, rule...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// appended gives the rule that a line of `iptables -S` appends, and its comment, if it has one.
func appended(line string) (rule []string, comment string) {
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "-A" {
		return nil, ""
	}
	if i := slices.Index(words, "--comment"); i >= 0 && i+1 < len(words) {
		comment = words[i+1]
	}
	return words[1:], comment
}

func linked(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// disconnect removes what is left on this machine of the node's network. The link went with the
// node; the rules did not.
func (n *node) disconnect(ctx context.Context) error {
	unlock, err := lockNetworks()
	if err != nil {
		return err
	}
	defer unlock()
	n.unlink(ctx)
	return errors.Join(n.closeWayOut(ctx), stopForwarding())
}

// unlink removes the link of a node that has ended. The kernel does so too, in its own time.
func (n *node) unlink(ctx context.Context) {
	if linked(n.link) {
		_ = run(ctx, "ip", "link", "del", n.link) // it fails when the kernel was faster
	}
}

// Whether this machine passes packets on is one setting for all clusters on it, and for others.
// The first of ours turns it on where it is off, and leaves a note; the last turns it off again.
const (
	forwarding     = "/proc/sys/net/ipv4/ip_forward"
	forwardingNote = "/run/plimsoll-forwarding"
	networkLock    = "/run/plimsoll-network.lock"
)

func lockNetworks() (unlock func(), err error) {
	lock, err := os.OpenFile(networkLock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		lock.Close()
		return nil, err
	}
	return func() { lock.Close() }, nil
}

func forward() error {
	now, err := os.ReadFile(forwarding)
	if err != nil || strings.TrimSpace(string(now)) == "1" {
		return err
	}
	if err := os.WriteFile(forwardingNote, nil, 0o600); err != nil {
		return err
	}
	return os.WriteFile(forwarding, []byte("1"), 0)
}

func stopForwarding() error {
	if _, err := os.Stat(forwardingNote); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, link := range links {
		if strings.HasPrefix(link.Name, ours) {
			return nil
		}
	}
	return errors.Join(os.WriteFile(forwarding, []byte("0"), 0), os.Remove(forwardingNote))
}

// run runs one of the machine's programs and gives what it says when it fails.
func run(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
