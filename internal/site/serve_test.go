package site

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/policy/starter"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/served"
)

// TestServe: a registry that is served within this process keeps what the policies deny, of what this
// process made and of all else; whoever asked hears of each verdict, and Verdict gives what stands.
func TestServe(t *testing.T) {
	b := open(t, t.TempDir())
	b.base("team/unsigned:1", "1", v1.Config{})
	if _, err := b.Verdict(t.Context(), b.tag("team/unsigned:1")); !errors.Is(err, home.ErrNoPolicies) {
		t.Errorf("without policies: %v", err)
	}
	text, err := starter.Policies("baseline")
	if err != nil {
		t.Fatal(err)
	}
	write(t, b.Path("policies", "baseline.yaml"), string(text))

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	var mu sync.Mutex
	heard := map[string]artifact.Action{}
	go func() {
		ended <- b.Serve(ctx, served.Options{
			ServeOptions: registry.ServeOptions{Addr: "127.0.0.1:0", Ready: func(addr net.Addr) { ready <- addr }},
			Changed: func(_ context.Context, c verdicts.Change) error {
				mu.Lock()
				defer mu.Unlock()
				heard[c.Verdict.Repository+"@"+c.Verdict.Image] = c.Verdict.At(artifact.GateRegistry)
				return nil
			},
		})
	}()
	var addr net.Addr
	select {
	case addr = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	digest := b.head("team/unsigned:1")
	verdict, err := b.Verdict(t.Context(), b.tag("team/unsigned:1"))
	if err != nil || verdict.Image != digest || verdict.At(artifact.GateRegistry) != artifact.ActionDeny {
		t.Errorf("the verdict is %+v, %v", verdict, err)
	}
	until(t, "the verdict is heard", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return heard["team/unsigned@"+digest] == artifact.ActionDeny
	})
	answer, err := http.Get("http://" + addr.String() + "/v2/team/unsigned/manifests/1")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("it is answered with %s", answer.Status)
	}
	if err := b.Serve(t.Context(), served.Options{ServeOptions: registry.ServeOptions{Addr: "127.0.0.1:0"}}); err == nil {
		t.Error("a home has two servers")
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if after, err := b.Verdict(t.Context(), b.tag("team/unsigned:1")); err != nil || after.At(artifact.GateRegistry) != artifact.ActionDeny {
		t.Errorf("without a server: %+v, %v", after, err)
	}
}
