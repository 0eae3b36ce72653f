package sandbox

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/rootfs"
	"plimsoll.dev/plimsoll/internal/fault"
)

// plan is what a step needs of its root filesystem and of this machine.
type plan struct {
	points []rootfs.Point
	mounts []planned // the step's and the sandbox's own
}

// planned is a mount and, for Data, the octal mode of its file.
type planned struct {
	executor.Mount
	mode  string
	below string // the empty folder in memory that it lies in, where bubblewrap makes its mount point; "" for none
}

// plan looks at the step's mounts. Name resolution is the machine's own when the step
// shares its network.
func (s *Sandbox) plan(step executor.Step) (*plan, error) {
	p := &plan{}
	for _, m := range step.Mounts {
		p.mounts = append(p.mounts, planned{m, "0400", inMemory(step, m.Target)})
	}
	if step.Network {
		for name, content := range names() {
			taken := slices.ContainsFunc(step.Mounts, func(m executor.Mount) bool { return path.Clean(m.Target) == name })
			if !taken {
				p.mounts = append(p.mounts, planned{executor.Mount{Kind: executor.Data, Target: name, Content: content}, "0444", ""})
			}
		}
	}
	for _, name := range []string{"/dev", "/proc", "/run", "/tmp"} {
		p.points = append(p.points, rootfs.Point{Path: name, Dir: true})
	}
	for _, m := range p.mounts {
		dir := m.Kind == executor.Tmpfs
		if m.Kind == executor.ReadOnly || m.Kind == executor.ReadWrite {
			st, err := os.Stat(m.Source)
			if err != nil {
				return nil, fault.New(fault.NotFound, "mount", m.Source, err)
			}
			if dir = st.IsDir(); !dir && (m.Kind == executor.ReadWrite || !st.Mode().IsRegular()) {
				return nil, fault.Newf(fault.Usage, "mount", m.Source, "only a folder, or a file to read, can be mounted")
			}
		}
		if m.below == "" {
			p.points = append(p.points, rootfs.Point{Path: path.Clean(m.Target), Dir: dir})
		}
	}
	slices.SortFunc(p.points, func(a, b rootfs.Point) int { return strings.Compare(a.Path, b.Path) })
	p.points = slices.Compact(p.points)
	return p, nil
}

// hostname is the name of the machine that a step is on.
const hostname = "step"

// names gives the files by which a step that shares the machine's network resolves names:
// the machine's, and its own name. A machine without one of them resolves names without it,
// and so does the step.
func names() map[string][]byte {
	files := map[string][]byte{}
	for _, name := range []string{"/etc/hosts", "/etc/resolv.conf"} {
		if content, err := os.ReadFile(name); err == nil {
			files[name] = content
		}
	}
	files["/etc/hosts"] = slices.Concat(files["/etc/hosts"], []byte("\n127.0.0.1 "+hostname+"\n"))
	return files
}

// inMemory gives the highest of the step's empty folders in memory that the target lies in.
// What is mounted there asks for nothing of the root filesystem, so that steps with other
// files in such a folder share one.
func inMemory(step executor.Step, target string) string {
	folders := []string{"/run", "/tmp"}
	for _, m := range step.Mounts {
		switch clean := path.Clean(m.Target); {
		case m.Kind == executor.Tmpfs:
			folders = append(folders, clean)
		case clean == "/run" || clean == "/tmp":
			folders = slices.DeleteFunc(folders, func(f string) bool { return f == clean })
		}
	}
	slices.Sort(folders)
	for _, folder := range folders {
		if strings.HasPrefix(path.Clean(target), folder+"/") {
			return folder
		}
	}
	return ""
}

// options gives bwrap's options. They are handed over in a memory file, since anybody on
// the machine may read a process's arguments and the environment holds secrets. sources
// says where this process's folders are seen from bwrap; "" is the root filesystem.
func (r *run) options(fds *files, sources map[string]string) ([]string, error) {
	size := strconv.FormatInt(r.sandbox.opt.TmpfsBytes, 10)
	opts := []string{
		"--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
		"--hostname", hostname, "--die-with-parent", "--new-session", "--cap-drop", "ALL",
		"--ro-bind", sources[""], "/",
		"--dev", "/dev", "--perms", "1777", "--size", size, "--tmpfs", "/dev/shm",
		"--proc", "/proc",
		"--perms", "1777", "--size", size, "--tmpfs", "/tmp",
		"--perms", "0755", "--size", size, "--tmpfs", "/run",
	}
	if !r.step.Network {
		opts = append(opts, "--unshare-net")
	}
	if !r.sandbox.shifted {
		opts = append(opts, "--uid", fmt.Sprint(r.step.UID), "--gid", fmt.Sprint(r.step.GID))
	}
	mounts, err := r.mountOptions(fds, sources)
	if err != nil {
		return nil, err
	}
	opts = append(append(opts, mounts...), "--remount-ro", "/dev", "--clearenv")
	for _, e := range r.step.Env {
		key, value, _ := strings.Cut(e, "=")
		opts = append(opts, "--setenv", key, value)
	}
	dir := path.Clean("/" + r.step.Dir)
	return append(opts, "--chdir", dir), nil
}

// mountOptions orders the mounts so that one above another comes first.
func (r *run) mountOptions(fds *files, sources map[string]string) ([]string, error) {
	mounts := slices.Clone(r.plan.mounts)
	for i, m := range mounts {
		target := path.Clean(m.Target)
		if m.below == "" {
			mounts[i].Target = r.root.Point(target)
		} else {
			mounts[i].Target = r.root.Point(m.below) + strings.TrimPrefix(target, m.below)
		}
	}
	slices.SortStableFunc(mounts, func(a, b planned) int { return strings.Compare(a.Target, b.Target) })
	var opts []string
	for _, m := range mounts {
		switch m.Kind {
		case executor.ReadOnly:
			opts = append(opts, "--ro-bind", sources[m.Source], m.Target)
		case executor.ReadWrite:
			opts = append(opts, "--bind", sources[m.Source], m.Target)
		case executor.Tmpfs:
			size := m.Size
			if size == 0 {
				size = r.sandbox.opt.TmpfsBytes
			}
			opts = append(opts, "--perms", "0755", "--size", strconv.FormatInt(size, 10), "--tmpfs", m.Target)
		case executor.Data:
			fd, err := fds.memory(m.Content)
			if err != nil {
				return nil, err
			}
			opts = append(opts, "--perms", m.mode, "--ro-bind-data", fd, m.Target)
		}
	}
	return opts, nil
}
