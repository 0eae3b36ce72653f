package sandbox

import (
	"testing"

	"plimsoll.dev/plimsoll/internal/executor"
)

// TestInMemory: what is mounted in an empty folder in memory needs no place in the root
// filesystem, and so no root filesystem of its own.
func TestInMemory(t *testing.T) {
	for _, c := range []struct{ name, target, want string }{
		{"in a Tmpfs", "/work/env/NAME", "/work"},
		{"in a Tmpfs in a Tmpfs", "/work/deep/x", "/work"},
		{"the Tmpfs itself", "/work", ""},
		{"a name that only begins alike", "/workspace/x", ""},
		{"in /run", "/run/secrets/token", "/run"},
		{"in /tmp, which is mounted over", "/tmp/x", ""},
		{"anywhere else", "/etc/x", ""},
	} {
		step := executor.Step{Mounts: []executor.Mount{
			{Kind: executor.Tmpfs, Target: "/work/deep/"}, {Kind: executor.Tmpfs, Target: "/work"},
			{Kind: executor.ReadWrite, Source: "/x", Target: "/tmp"},
		}}
		if got := inMemory(step, c.target); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
