package sandbox

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/executor"
)

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		name, idMap string
		want        bool
	}{
		{"the whole machine", "         0          0 4294967295\n", true},
		{"root of a container with 65,536 ids", "0 100000 65536\n", false},
		{"an ordinary user's namespace", "0 1000 1\n", false},
		{"two lines", "0 1000 1\n1 100000 4000000000\n", true},
		{"one id short", "0 0 1879113726\n", false},
		{"just enough", "0 0 1879113727\n", true},
		{"empty", "", false},
		{"not a map", "x\n", false},
	} {
		if got := holds(c.idMap, DefaultIDBase); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

func TestParseCgroups(t *testing.T) {
	for _, c := range []struct {
		name, own, mounts string
		want              map[string]string
	}{
		{
			"version 2", "0::/user.slice/app.service\n",
			"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			map[string]string{"": "/sys/fs/cgroup/user.slice/app.service"},
		},
		{
			"version 1, two controllers in one", "5:cpu,cpuacct:/a\n4:memory:/b\n1:name=systemd:/c\n",
			"31 30 0:27 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n32 30 0:28 / /cg/memory rw - cgroup cgroup rw,memory\n33 30 0:29 / /cg/systemd rw - cgroup cgroup rw,name=systemd\n",
			map[string]string{"cpu": "/cg/cpu/a", "cpuacct": "/cg/cpu/a", "memory": "/cg/memory/b", "name=systemd": "/cg/systemd/c"},
		},
		{
			"a container sees its own part only", "4:memory:/docker/1/sub\n0::/docker/1\n",
			"32 30 0:28 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n30 23 0:26 /docker/2 /cg2 rw - cgroup2 cgroup rw\n",
			map[string]string{"memory": "/sys/fs/cgroup/memory/sub"},
		},
		{"nothing", "", "", map[string]string{}},
		{"not the kernel's words", "x\n:\n", "- -\n1 2 3 - cgroup\n", map[string]string{}},
	} {
		if diff := cmp.Diff(c.want, parseCgroups(c.own, c.mounts)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestSettings is the only account of version 2 on machines that have version 1.
func TestSettings(t *testing.T) {
	l := executor.Limits{MilliCPU: 1500, Memory: 1 << 20, Pids: 9}
	for _, c := range []struct {
		controller string
		v2         bool
		want       map[string]string
	}{
		{"memory", false, map[string]string{"memory.limit_in_bytes": "1048576", "memory.memsw.limit_in_bytes": "1048576"}},
		{"memory", true, map[string]string{"memory.max": "1048576", "memory.swap.max": "0", "memory.oom.group": "1"}},
		{"cpu", false, map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"}},
		{"cpu", true, map[string]string{"cpu.max": "150000 100000"}},
		{"pids", false, map[string]string{"pids.max": "10"}},
		{"pids", true, map[string]string{"pids.max": "10"}},
		{"io", true, map[string]string{}},
	} {
		got := map[string]string{}
		for _, s := range settings(l, c.controller, c.v2) {
			got[s.name] = s.value
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.controller, diff)
		}
	}
}

// TestSeccompJumps follows every jump of the filter, for architectures that this machine is
// not: none may lead out of the program, and each must end in a verdict.
func TestSeccompJumps(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		raw := seccompFilter(arch)
		const size = 8 // of struct sock_filter
		n := len(raw) / size
		if len(raw)%size != 0 || n == 0 || n > unix.BPF_MAXINSNS {
			t.Fatalf("%s: %d bytes", arch, len(raw))
		}
		for i := range n {
			code, jt, jf := binary.NativeEndian.Uint16(raw[i*size:]), int(raw[i*size+2]), int(raw[i*size+3])
			returns := code&7 == unix.BPF_RET
			if i == n-1 && !returns || !returns && i+1+max(jt, jf) >= n {
				t.Errorf("%s: instruction %d leads out of the filter", arch, i)
			}
		}
	}
	if seccompFilter("riscv64") != nil {
		t.Error("an architecture whose call numbers were not looked at has a filter")
	}
}
