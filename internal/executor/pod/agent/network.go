package main

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
)

const (
	// dialFor is how long an address has to answer that is one of the cluster's own.
	dialFor = time.Second
	// isolateFor is how long a network may still be open at a pod's start: policies reach a
	// node after the pod does.
	isolateFor = 20 * time.Second
)

// isolated says whether nothing can be reached from here: as no interface leads
// anywhere, or as none of the addresses answers that do answer other pods.
func isolated(ctx context.Context, probes []string) error {
	if alone() {
		return nil
	}
	if len(probes) == 0 {
		return &wire.Problem{Sort: wire.Unproven, Why: "the pod has a network, and nothing to prove by that it leads nowhere"}
	}
	for deadline := time.Now().Add(isolateFor); ; {
		open := reached(ctx, probes)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case len(open) == 0:
			return nil
		case time.Now().After(deadline):
			return &wire.Problem{Sort: wire.Reachable, Why: "the pod reaches " + open[0]}
		}
	}
}

// alone says that nothing leads out of here: no interface but loopback is up at both of its
// ends. One that is down at the other leads nowhere, and it takes rights that no step has to
// change that.
func alone() bool {
	list, err := net.Interfaces()
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(list, func(i net.Interface) bool {
		return i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagRunning != 0
	})
}

// reached gives those of the addresses that answer, and the API server's when it does.
func reached(ctx context.Context, addresses []string) []string {
	if host := os.Getenv("KUBERNETES_SERVICE_HOST"); host != "" {
		addresses = append([]string{net.JoinHostPort(host, os.Getenv("KUBERNETES_SERVICE_PORT"))}, addresses...)
	}
	open := []string{}
	dialer := net.Dialer{Timeout: dialFor}
	for _, address := range addresses {
		c, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			c.Close()
		}
		if err == nil || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) {
			open = append(open, address)
		}
	}
	return open
}
