package cluster

import (
	"context"
	"os/exec"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Version is one line of what the kubernetes program is made of.
type Version struct {
	Name    string // "plimsoll" for what it was compiled from, "kubernetes", "etcd", "go"
	Version string // as its makers write it: "v1.34.4"
}

// Versions asks the kubernetes program what it is made of.
func Versions(ctx context.Context, program string) ([]Version, error) {
	out, err := exec.CommandContext(ctx, program, "version").Output()
	if err != nil {
		return nil, fault.New(fault.Failed, "ask for Kubernetes' version", program, err).WithHint("build it with: make bin/kubernetes")
	}
	var versions []Version
	for line := range strings.Lines(string(out)) {
		if name, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			versions = append(versions, Version{Name: name, Version: version})
		}
	}
	return versions, nil
}
