package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/executor"
)

// process is a started bwrap. It is the first process of a pid namespace, so the kernel
// kills all below it when it dies, and reports its death only when all of them are gone.
type process struct {
	cmd     *exec.Cmd
	info    *os.File // bwrap says here that its child waits
	status  *os.File // bwrap says here how the command ended
	release *os.File // closing this lets the child go on
	output  []func() // each passes on what the command writes, until it is closed
	outputs sync.WaitGroup
}

// status is how bwrap ended.
type status struct {
	code *int   // the command's exit status; nil when it never ran to its end
	wait string // bwrap's own
}

// start runs bwrap up to the point where its child waits for the limits.
func (r *run) start(sources map[string]string) (*process, error) {
	fds := &files{}
	defer fds.close()
	p := &process{}
	var infoFD, statusFD, blockFD string
	var err error
	if p.info, infoFD, err = fds.reading(); err != nil {
		return nil, err
	}
	if p.status, statusFD, err = fds.reading(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if p.release, blockFD, err = fds.writing(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	opts, err := r.options(fds, sources)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	filter, err := seccomp(fds)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	opts = append(opts, filter...)
	block := "--block-fd"
	if r.sandbox.shifted {
		block = "--userns-block-fd" // it also leaves the id maps to us
	}
	opts = append(opts, "--info-fd", infoFD, "--json-status-fd", statusFD, block, blockFD)
	argsFD, err := fds.memory([]byte(strings.Join(opts, "\x00") + "\x00"))
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.cmd = exec.Command(r.sandbox.opt.Bwrap, append([]string{"--args", argsFD, "--"}, r.step.Command...)...)
	p.cmd.Env, p.cmd.Dir, p.cmd.ExtraFiles = []string{}, "/", fds.list
	if err := r.pipe(p); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.cmd.SysProcAttr = r.sandbox.attributes(r.step)
	// What this process itself inherited without the flag would pass through to the step.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, errors.Join(os.NewSyscallError("close_range", err), p.close())
	}
	if err := p.cmd.Start(); err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
			err = unavailable(err)
		}
		return nil, errors.Join(err, p.close())
	}
	for _, pass := range p.output {
		p.outputs.Go(pass)
	}
	return p, nil
}

// pipe makes the command's output pipes, and the step's user their owner: programs open
// /dev/stdout and /dev/stderr, as they may in every container.
func (r *run) pipe(p *process) error {
	for _, way := range []struct {
		open func() (io.ReadCloser, error)
		to   io.Writer
	}{{p.cmd.StdoutPipe, r.out}, {p.cmd.StderrPipe, r.err}} {
		from, err := way.open()
		if err != nil {
			return err
		}
		if file, ok := from.(*os.File); ok && r.sandbox.shifted {
			if err := file.Chown(int(r.sandbox.opt.IDBase+r.step.UID), int(r.sandbox.opt.IDBase+r.step.GID)); err != nil {
				return err
			}
		}
		p.output = append(p.output, func() {
			defer from.Close()
			_, _ = io.Copy(way.to, from) // what the writer said, it remembers
		})
	}
	return nil
}

// attributes puts bwrap into a pid namespace of its own and, when root runs it, takes all
// of root's power from it before it starts.
func (s *Sandbox) attributes(step executor.Step) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID}
	if s.shifted {
		a.Credential = &syscall.Credential{Uid: s.opt.IDBase + step.UID, Gid: s.opt.IDBase + step.GID}
		return a
	}
	// An ordinary user may make a pid namespace only inside a user namespace.
	a.Cloneflags |= syscall.CLONE_NEWUSER
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	return a
}

// guide sets the limits, lets the command go and watches over it until bwrap ends. It gives
// when the command started and whether its time was over.
func (r *run) guide(ctx context.Context, p *process) (time.Time, bool, error) {
	var late atomic.Bool
	kill := func() { _ = p.cmd.Process.Kill() } // fails only when it has ended already
	stop := context.AfterFunc(ctx, kill)
	err := r.prepare(p)
	started := time.Now()
	if err != nil {
		kill()
	} else if wall := r.step.Limits.Wall; wall > 0 {
		timer := time.AfterFunc(wall, func() { late.Store(true); kill() })
		defer timer.Stop()
		r.result.Enforced.Wall = executor.Timer
	}
	p.release.Close()
	p.outputs.Wait()
	_ = p.cmd.Wait() // what it says is in the process state
	stop()
	return started, late.Load(), err
}

// prepare puts the waiting child under its limits and gives it its ids.
func (r *run) prepare(p *process) error {
	var info struct {
		ChildPID int `json:"child-pid"`
	}
	if err := json.NewDecoder(p.info).Decode(&info); err != nil {
		return fmt.Errorf("bwrap did not start: %w", err)
	}
	// bwrap knows its child by a number in its own pid namespace only.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.cmd.Process.Pid))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		return fmt.Errorf("find bwrap's child in %q: %w", children, err)
	}
	if r.result.Enforced, err = r.groups.enforce(pid); err != nil {
		return err
	}
	if !r.sandbox.shifted {
		return nil
	}
	ids := fmt.Appendf(nil, "0 %d %d\n", r.sandbox.opt.IDBase, executor.MaxID+1)
	for _, name := range []string{"uid_map", "gid_map"} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, name), ids, 0); err != nil {
			return err
		}
	}
	return nil
}

// finish reads what bwrap said of the command, after its end.
func (p *process) finish() status {
	defer p.close()
	s := status{wait: p.cmd.ProcessState.String()}
	for d := json.NewDecoder(p.status); ; {
		var line struct {
			ExitCode *int `json:"exit-code"`
		}
		if d.Decode(&line) != nil {
			return s
		}
		if line.ExitCode != nil {
			s.code = line.ExitCode
		}
	}
}

func (p *process) close() error {
	for _, f := range []*os.File{p.info, p.status, p.release} {
		if f != nil {
			f.Close()
		}
	}
	return nil
}

// files are what bwrap inherits, from descriptor 3 on.
type files struct{ list []*os.File }

func (f *files) add(file *os.File) string {
	f.list = append(f.list, file)
	return strconv.Itoa(2 + len(f.list))
}

// reading gives the end of a pipe that bwrap writes to.
func (f *files) reading() (*os.File, string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	return r, f.add(w), nil
}

// writing gives the end of a pipe that bwrap reads from.
func (f *files) writing() (*os.File, string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	return w, f.add(r), nil
}

// memory gives bwrap a file that is nowhere but in memory.
func (f *files) memory(content []byte) (string, error) {
	fd, err := unix.MemfdCreate("plimsoll", unix.MFD_CLOEXEC)
	if err != nil {
		return "", os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "memory")
	name := f.add(file)
	if _, err := file.Write(content); err != nil {
		return "", err
	}
	_, err = file.Seek(0, io.SeekStart)
	return name, err
}

func (f *files) close() {
	for _, file := range f.list {
		file.Close()
	}
}
