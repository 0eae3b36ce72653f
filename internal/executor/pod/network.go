package pod

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"

	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
	"plimsoll.dev/plimsoll/internal/fault"
)

// findProbes finds addresses that a pod with a network reaches, by a pod that tries: that a
// pod without one does not reach them proves something only then.
func (e *Executor) findProbes(ctx context.Context, r *run) error {
	if len(e.known()) > 0 {
		return nil // another step has found them meanwhile
	}
	var found []string
	err := r.probe().inPod(ctx, func(ctx context.Context, s *stream, _ *watcher) error {
		if err := s.conn.SendJSON(wire.Setup, wire.Job{Probes: apiServer(e.config.Host)}); err != nil {
			return err
		}
		for {
			kind, payload, err := s.conn.Read()
			if err != nil {
				return err
			}
			if kind == wire.Probed {
				return errors.Join(json.Unmarshal(payload, &found), s.farewell())
			}
		}
	})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fault.Newf(fault.Unavailable, "keep the step from the network", e.opt.Namespace,
			"pods have a network here, but reach no address by which it could be proven that this one reaches none").
			WithHint("when the cluster's network is known to keep NetworkPolicy, say that it is to be trusted")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.probes = found
	return nil
}

// known gives the addresses that answer pods with a network, if that was ever asked.
func (e *Executor) known() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.probes
}

// apiServer gives the API server's address as the executor knows it, for pods to try.
func apiServer(host string) []string {
	u, err := url.Parse(host)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return []string{net.JoinHostPort(u.Hostname(), port)}
}
