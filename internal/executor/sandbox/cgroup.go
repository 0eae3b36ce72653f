package sandbox

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/executor"
)

const cgroupPrefix = "plimsoll-"

// cgroups are the control groups of one step: one folder for each controller in version 1,
// the same one for all in version 2, none where this user may not make any.
type cgroups struct {
	limits executor.Limits
	dirs   map[string]string // controller -> folder
	v2     map[string]bool   // controller -> whether that folder is of version 2
}

// setting is one file of a cgroup and what to write to it.
type setting struct {
	name, value string
	optional    bool // kernels without swap accounting lack it
}

// settings gives what a limit is called in each version of cgroups
// (Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst).
func settings(l executor.Limits, controller string, v2 bool) []setting {
	quota := max(1000, l.MilliCPU*100)                                               // of 100,000 µs; the kernel takes no less than 1 ms
	memory, pids := strconv.FormatInt(l.Memory, 10), strconv.FormatInt(l.Pids+1, 10) // bwrap's own first process
	switch {
	case controller == "memory" && v2:
		return []setting{{"memory.max", memory, false}, {"memory.swap.max", "0", true}, {"memory.oom.group", "1", true}}
	case controller == "memory":
		return []setting{{"memory.limit_in_bytes", memory, false}, {"memory.memsw.limit_in_bytes", memory, true}}
	case controller == "cpu" && v2:
		return []setting{{"cpu.max", fmt.Sprintf("%d 100000", quota), false}}
	case controller == "cpu":
		return []setting{{"cpu.cfs_period_us", "100000", false}, {"cpu.cfs_quota_us", strconv.FormatInt(quota, 10), false}}
	case controller == "pids":
		return []setting{{"pids.max", pids, false}}
	}
	return nil
}

// newCgroups makes a cgroup for every limit that is asked for, where this user may.
func newCgroups(l executor.Limits, delegated string, note *record) (*cgroups, error) {
	g := &cgroups{limits: l, dirs: map[string]string{}, v2: map[string]bool{}}
	asked := map[string]int64{"memory": l.Memory, "cpu": l.MilliCPU, "pids": l.Pids}
	if asked["memory"] == 0 && asked["cpu"] == 0 && asked["pids"] == 0 {
		return g, nil
	}
	mounts, err := cgroupParents()
	if err != nil {
		return g, err
	}
	if delegated != "" {
		mounts[""] = delegated
	}
	name := cgroupPrefix + rand.Text()
	for _, controller := range []string{"memory", "cpu", "pids"} {
		if asked[controller] == 0 {
			continue
		}
		if err := g.make(controller, name, mounts, note); err != nil {
			return g, err
		}
	}
	return g, nil
}

// make tries the places where a cgroup with the controller may be made. That there is none
// is no error: enforce falls back to rlimits.
func (g *cgroups) make(controller, name string, parents map[string]string, note *record) error {
	type place struct {
		parent string
		v2     bool
	}
	var places []place
	if p, ok := parents[controller]; ok {
		places = append(places, place{p, false})
	}
	if p, ok := parents[""]; ok {
		// A group with processes in it cannot have groups with limits below it, save the
		// topmost: a unit with DelegateSubgroup= is met from the group above.
		places = append(places, place{p, true}, place{filepath.Dir(p), true})
	}
	for _, p := range places {
		dir := filepath.Join(p.parent, name)
		if p.v2 && !delegates(p.parent, controller) {
			continue
		}
		if err := note.note(dir); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			continue
		}
		g.dirs[controller], g.v2[controller] = dir, p.v2
		if err := g.set(controller); err == nil {
			return nil
		}
		delete(g.dirs, controller)
		if !slices.Contains(values(g.dirs), dir) {
			if err := removeCgroup(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// delegates says whether groups below dir have the controller, after asking for it.
func delegates(dir, controller string) bool {
	file := filepath.Join(dir, "cgroup.subtree_control")
	raw, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	return slices.Contains(strings.Fields(string(raw)), controller) || os.WriteFile(file, []byte("+"+controller), 0) == nil
}

func (g *cgroups) set(controller string) error {
	for _, s := range settings(g.limits, controller, g.v2[controller]) {
		err := os.WriteFile(filepath.Join(g.dirs[controller], s.name), []byte(s.value), 0)
		if err != nil && !s.optional {
			return err
		}
	}
	return nil
}

// enforce puts a process, and so all that it will start, under the limits, and says how.
func (g *cgroups) enforce(pid int) (executor.Enforced, error) {
	var done executor.Enforced
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(values(g.dirs)))) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return done, err
		}
	}
	// A core dump would leave the sandbox by way of the machine's core pattern.
	if err := setRlimit(pid, unix.RLIMIT_CORE, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return done, err
	}
	var err error
	if done.CPU = executor.NotAsked; g.limits.MilliCPU > 0 {
		done.CPU = executor.None // no rlimit bounds a rate
		if g.dirs["cpu"] != "" {
			done.CPU = executor.Cgroup
		}
	}
	// RLIMIT_DATA, not RLIMIT_AS: Java, Go and Node reserve far more room than they use.
	if done.Memory, err = g.fallback("memory", pid, unix.RLIMIT_DATA, g.limits.Memory); err != nil {
		return done, err
	}
	done.Pids, err = g.fallback("pids", pid, unix.RLIMIT_NPROC, g.limits.Pids+1)
	return done, err
}

func (g *cgroups) fallback(controller string, pid, resource int, limit int64) (executor.Means, error) {
	if g.dirs[controller] != "" {
		return executor.Cgroup, nil
	}
	if controller == "memory" && g.limits.Memory == 0 || controller == "pids" && g.limits.Pids == 0 {
		return executor.NotAsked, nil
	}
	switch err := setRlimit(pid, resource, uint64(limit)); {
	case errors.Is(err, unix.EPERM):
		return executor.None, nil // root without CAP_SYS_RESOURCE may not, for another user
	case err != nil:
		return executor.None, err
	}
	return executor.Rlimit, nil
}

func setRlimit(pid, resource int, n uint64) error {
	return os.NewSyscallError("prlimit", unix.Prlimit(pid, resource, &unix.Rlimit{Cur: n, Max: n}, nil))
}

// oomKilled says whether the kernel killed a process of the step for its memory limit.
func (g *cgroups) oomKilled() bool {
	dir, name := g.dirs["memory"], "memory.oom_control"
	if dir == "" {
		return false
	}
	if g.v2["memory"] {
		name = "memory.events"
	}
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return false
	}
	for line := range bytes.Lines(raw) {
		if n, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("oom_kill ")); ok {
			return string(n) != "0"
		}
	}
	return false
}

func (g *cgroups) remove() error {
	var err error
	for _, dir := range g.dirs {
		err = errors.Join(err, removeCgroup(dir))
	}
	return err
}

func values(m map[string]string) []string {
	var out []string
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// cgroupParents gives, for each version 1 controller and for version 2 (""), the folder of
// the cgroup that this process is in.
func cgroupParents() (map[string]string, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseCgroups(string(own), string(mounts)), nil
}

// parseCgroups reads cgroups(7)'s /proc/PID/cgroup and proc(5)'s mountinfo.
func parseCgroups(own, mountinfo string) map[string]string {
	type mount struct{ root, at string }
	mounts := map[string]mount{}
	for lines := bufio.NewScanner(strings.NewReader(mountinfo)); lines.Scan(); {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		switch r[0] {
		case "cgroup2":
			mounts[""] = mount{l[3], l[4]}
		case "cgroup":
			for option := range strings.SplitSeq(r[2], ",") {
				mounts[option] = mount{l[3], l[4]}
			}
		}
	}
	parents := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(own)); lines.Scan(); {
		f := strings.SplitN(lines.Text(), ":", 3)
		if len(f) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(f[1], ",") {
			if m, ok := mounts[controller]; ok {
				if rel, err := filepath.Rel(m.root, f[2]); err == nil && !strings.HasPrefix(rel, "..") {
					parents[controller] = filepath.Join(m.at, rel)
				}
			}
		}
	}
	return parents
}
