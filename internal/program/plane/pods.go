package plane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/pod"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// stepsRepository holds the root filesystems of build steps: a builder's layers, once more. The doors of
// the registry keep everybody else from writing there.
const stepsRepository = call.Steps

// steps gives what runs build steps; nil is this machine's sandbox.
func (p *Plane) steps(ctx context.Context) (executor.Executor, error) {
	if !p.o.Pods {
		return nil, nil
	}
	parts, err := p.parts()
	if err != nil {
		return nil, err
	}
	if err := p.prepare(ctx); err != nil {
		return nil, err
	}
	push, err := p.place(stepsRepository + ":1")
	if err != nil {
		return nil, err
	}
	pull := strings.TrimSuffix(p.reach(push), ":1")
	agent := filepath.Join(parts, "agent", "linux", runtime.GOARCH, "agent")
	images, err := pod.NewRepository(p.site.Registries, strings.TrimSuffix(push.String(), ":1"), pull, agent, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	owner, err := stepsOwner(p.site.Folder)
	if err != nil {
		return nil, err
	}
	runner, err := pod.New(p.target, images, pod.Options{Namespace: p.o.StepsNamespace, Owner: owner})
	if err != nil {
		return nil, err
	}
	if err := runner.Sweep(ctx); err != nil { // what one that was killed left takes room, no more
		p.log.Warn("pods of steps that ended are not removed", "error", err)
	}
	return runner, nil
}

// stepsOwner names the process of a home among those that run steps in one cluster: none removes the pods
// of another when it starts. A host's name is a pod's, which says it alone; on a machine are more homes.
func stepsOwner(home string) (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fault.New(fault.Failed, "name the executor", "", err)
	}
	home, err = filepath.Abs(home)
	if err != nil {
		return "", fault.New(fault.Failed, "name the executor", home, err)
	}
	sum := sha256.Sum256([]byte(home))
	return hex.EncodeToString(sum[:4]) + "-" + host, nil
}

// prepare has the cluster hold what steps need, where that is not the chart's to do.
func (p *Plane) prepare(ctx context.Context) error {
	if p.o.NoDefinitions {
		return nil
	}
	c, err := client.New(p.target, client.Options{})
	if err != nil {
		return fault.New(fault.Unavailable, "reach the cluster", p.target.Host, err)
	}
	for _, object := range pod.Objects() {
		if err := c.Patch(ctx, object, client.Apply, client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
			return fault.New(fault.Failed, "prepare the cluster for build steps", object.GetName(), err)
		}
	}
	return nil
}

// steps serves the images of build steps to the node. No policy speaks of them: they are pulled
// by nobody else, and hold nothing that is not in a builder.
func (r *servedRegistry) steps(store http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{Transport: store, Rewrite: func(request *httputil.ProxyRequest) {
		request.SetURL(&url.URL{Scheme: "http", Host: r.address})
		request.Out.URL.RawQuery = "" // it means nothing to what is asked by digest
	}}
}
