// Package sandbox takes a Step and gives its Result by running it with bubblewrap on this
// machine, for an ordinary user and for root alike.
//
// The step runs in namespaces of its own (user, mount, pid, ipc, uts, cgroup and, unless it
// asked for the network, net), with no capability, no new privileges and a read-only root.
// An ordinary user's step is that user outside. Root's step is nobody outside: its ids are
// shifted by Options.IDBase, for which the layers are unpacked with shifted owners.
package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/rootfs"
	"plimsoll.dev/plimsoll/internal/fault"
)

// DefaultIDBase is the first of the 65,536 ids that stand for a step's when root runs it.
// systemd's table of ids (UIDS-GIDS.md) leaves the range from here on to nobody.
const DefaultIDBase = 0x70000000

// Options of a Sandbox. The zero value is what a program wants.
type Options struct {
	// Bwrap is the path of bubblewrap 0.8 or later; "" finds it in PATH.
	Bwrap string
	// IDBase is where root's steps find their ids; 0 means DefaultIDBase. It has no
	// meaning for an ordinary user.
	IDBase uint32
	// Cgroup is a cgroup v2 folder that is the caller's to fill, such as a systemd unit
	// with Delegate= has; "" tries the caller's own cgroup and the one above it.
	Cgroup string
	// TmpfsBytes bounds /tmp, /run, /dev/shm and every Tmpfs mount without a size, each
	// on its own; 0 means 1 GiB.
	TmpfsBytes int64
	// Layers bounds what is unpacked. Its IDBase is ignored.
	Layers rootfs.Options
}

// Sandbox is the Executor that uses bubblewrap.
type Sandbox struct {
	store    *rootfs.Store
	opt      Options
	shifted  bool   // root with the right to map a range of ids
	stepsDir string // one locked file for each running step
}

var _ executor.Executor = (*Sandbox)(nil)

// New gives a sandbox that keeps its layers in dir, and removes what killed processes left
// of their steps. dir is made with mode 0700 and may be shared by any number of processes
// of the same user. Its error is Unavailable when bubblewrap is missing.
func New(dir string, opt Options) (*Sandbox, error) {
	if opt.Bwrap == "" {
		path, err := exec.LookPath("bwrap")
		if err != nil {
			return nil, fault.New(fault.Unavailable, "find the sandbox", "bwrap", err).
				WithHint("install bubblewrap (Debian: apt-get install bubblewrap)")
		}
		opt.Bwrap = path
	}
	if opt.IDBase == 0 {
		opt.IDBase = DefaultIDBase
	}
	if opt.TmpfsBytes == 0 {
		opt.TmpfsBytes = 1 << 30
	}
	s := &Sandbox{opt: opt, shifted: mayShift(opt.IDBase), stepsDir: filepath.Join(dir, "steps")}
	if opt.Layers.IDBase = 0; s.shifted {
		opt.Layers.IDBase = opt.IDBase
	}
	if err := os.MkdirAll(s.stepsDir, 0o700); err != nil {
		return nil, fault.New(fault.Failed, "open the sandbox's folder", dir, err)
	}
	var err error
	if s.store, err = rootfs.Open(dir, opt.Layers); err != nil {
		return nil, err
	}
	return s, s.sweep()
}

// Prune removes layers and roots, the longest unused first, until at most maxBytes are left.
func (s *Sandbox) Prune(ctx context.Context, maxBytes int64) (rootfs.Pruned, error) {
	return s.store.Prune(ctx, maxBytes)
}

// Held says how many layers and roots are kept, and what they take on disk, in bytes.
func (s *Sandbox) Held() (entries int, bytes int64, err error) { return s.store.Held() }

// Run runs the step; see executor.Executor.
func (s *Sandbox) Run(ctx context.Context, step executor.Step, stdout, stderr io.Writer) (executor.Result, error) {
	if err := executor.Check(step); err != nil {
		return executor.Result{}, err
	}
	plan, err := s.plan(step)
	if err != nil {
		return executor.Result{}, err
	}
	root, err := s.store.Root(ctx, step.Layers, plan.points)
	if err != nil {
		return executor.Result{}, err
	}
	defer root.Release()
	if s.shifted {
		if err := handOver(step, s.opt.IDBase); err != nil {
			return executor.Result{}, err
		}
	}
	record, err := s.newRecord()
	if err != nil {
		return executor.Result{}, err
	}
	defer record.close()
	groups, err := newCgroups(step.Limits, s.opt.Cgroup, record)
	defer func() { record.keep = groups.remove() != nil }()
	if err != nil {
		return executor.Result{}, fault.New(fault.Failed, "limit step", step.Command[0], err)
	}
	run := &run{sandbox: s, step: step, plan: plan, root: root, groups: groups}
	run.out, run.err = writers(stdout, stderr)
	// bwrap dies with the thread that started it, not with the process: the thread must
	// last as long as the step. What it has unshared makes it unfit for anything else.
	err = onOwnThread(func() error { return run.do(ctx) })
	return run.result, err
}

// run is one step on its way.
type run struct {
	sandbox *Sandbox
	step    executor.Step
	plan    *plan
	root    *rootfs.Root
	groups  *cgroups
	out     *locked
	err     *tail
	result  executor.Result
}

func (r *run) do(ctx context.Context) error {
	sources, err := r.stage()
	if err != nil {
		return err
	}
	p, err := r.start(sources)
	if err != nil {
		return err
	}
	started, late, err := r.guide(ctx, p)
	status := p.finish()
	r.result.Duration = time.Since(started)
	command := r.step.Command[0]
	switch failed := cmp.Or(r.out.failed, r.err.to.failed); {
	case failed != nil:
		return fault.New(fault.Failed, "write the step's output", command, failed)
	case status.code != nil:
		r.conclude(*status.code)
		return nil
	case ctx.Err() != nil:
		return fault.New(fault.Canceled, "run step", command, ctx.Err())
	case late:
		r.result.ExitCode, r.result.Signal, r.result.Reason = 128+9, syscall.SIGKILL, executor.TimedOut
		return nil
	}
	return r.explain(status, err)
}

// conclude sets the result from the command's exit status.
func (r *run) conclude(code int) {
	r.result.ExitCode, r.result.Reason = code, executor.Exited
	if code > 128 && code <= 128+64 {
		r.result.Signal, r.result.Reason = syscall.Signal(code-128), executor.Signaled
	}
	if code != 0 && r.groups.oomKilled() {
		r.result.Reason = executor.OutOfMemory
	}
}

// explain gives the reason why the command was never run.
func (r *run) explain(status status, err error) error {
	command := r.step.Command[0]
	if r.groups.oomKilled() {
		r.result.ExitCode, r.result.Signal, r.result.Reason = 128+9, syscall.SIGKILL, executor.OutOfMemory
		return nil
	}
	said := strings.TrimPrefix(r.err.lastLine("bwrap: "), "bwrap: ")
	switch {
	case strings.HasPrefix(said, "execvp "):
		return fault.Newf(fault.NotFound, "run step", command, "it is not a program in the root filesystem: "+said).
			WithHint("name a program that the image's layers hold, or set PATH in the step's environment")
	case strings.HasPrefix(said, "Can't chdir"):
		return fault.Newf(fault.Usage, "run step", command, said).WithHint("the working directory must be in the image or mounted")
	case strings.Contains(said, "namespace") || strings.Contains(said, "uid map") || strings.Contains(said, "gid map"):
		return unavailable(errors.New(said))
	case said != "":
		err = errors.New(said)
	case err == nil:
		err = fmt.Errorf("the sandbox ended with %v before the command ran", status.wait)
	}
	return fault.New(fault.Failed, "run step", command, err)
}

func unavailable(why error) error {
	return fault.New(fault.Unavailable, "make a sandbox", "user namespace", why).
		WithHint("let this user make user namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and " +
			"kernel.apparmor_restrict_unprivileged_userns decide; inside a container its seccomp profile does")
}
