// Package leader takes the lease that replicas contend for and gives who holds it, and a handler
// that hands on to him what only he can answer.
package leader

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Name is the lease's.
const Name = "controllers.plimsoll.dev"

// Lease is the lease as one replica contends for it. It is a resourcelock.Interface for the elector,
// and remembers whom that has seen in it, which is no older than an elector's period of two seconds.
type Lease struct {
	resourcelock.Interface
	own    string
	holder atomic.Pointer[string]
}

// New gives the lease of a namespace. Others reach this replica at address, an IP with a port; "" is
// nowhere. The error is a *fault.Error.
func New(target *rest.Config, namespace, address string) (*Lease, error) {
	if address != "" {
		if _, err := netip.ParseAddrPort(address); err != nil {
			return nil, fault.New(fault.Usage, "read the address of this replica", address, err)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fault.New(fault.Failed, "read the name of this replica", "", err)
	}
	target = rest.AddUserAgent(rest.CopyConfig(target), "leader-election")
	target.Timeout = 5 * time.Second // half of what an elector gives itself to renew
	leases, err := coordination.NewForConfig(target)
	if err != nil {
		return nil, fault.New(fault.Failed, "reach the lease", namespace+"/"+Name, err)
	}
	l := &Lease{own: strings.Join([]string{host, address, string(uuid.NewUUID())}, "_")}
	l.Interface = &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: Name},
		Client:     leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: l.own},
	}
	return l, nil
}

// Get implements resourcelock.Interface.
func (l *Lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil {
		l.holder.Store(&record.HolderIdentity)
	}
	return record, raw, err
}

// Create implements resourcelock.Interface.
func (l *Lease) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.wrote(record, l.Interface.Create(ctx, record))
}

// Update implements resourcelock.Interface.
func (l *Lease) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.wrote(record, l.Interface.Update(ctx, record))
}

func (l *Lease) wrote(record resourcelock.LeaderElectionRecord, err error) error {
	if err == nil {
		l.holder.Store(&record.HolderIdentity)
	}
	return err
}

// Address gives where the replica that holds the lease is reached; "" while that is nobody, this
// one, or one that has not said.
func (l *Lease) Address() string {
	holder := l.holder.Load()
	if holder == nil || *holder == l.own {
		return ""
	}
	parts := strings.Split(*holder, "_")
	if len(parts) != 3 {
		return ""
	}
	at, err := netip.ParseAddrPort(parts[1])
	if err != nil {
		return "" // never a name that somebody else answers for
	}
	return at.String()
}

// Join gives the address of a replica from its pod's IP and what it listens at, such as ":5080"; ""
// without an IP.
func Join(ip, listen string) (string, error) {
	if ip == "" {
		return "", nil
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fault.New(fault.Usage, "read the address of this replica", listen, err)
	}
	return net.JoinHostPort(ip, port), nil
}
