package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
)

// child is the argument of the process that becomes the command.
const child = "exec"

// childConn is the descriptor by which it talks to the agent.
const childConn = 3

// What it says of the bound on processes, one byte.
const (
	bounded   = 'L' // with the descriptor of its listener
	unbounded = 'N'
)

// command is the started command.
type command struct {
	pid    int
	tasks  *tasks // nil: their number is not bounded
	asked  bool
	guards sync.WaitGroup
}

// start starts the command. It never gives nil, and the error of a command that could not
// be started is a *wire.Problem.
func start(job wire.Job, out *output) (*command, error) {
	c := &command{asked: job.Pids > 0}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return c, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		theirs.Close()
		return c, err
	}
	defer null.Close()
	self, err := os.Executable()
	if err != nil {
		theirs.Close()
		return c, err
	}
	p, err := os.StartProcess(self, []string{self, child}, &os.ProcAttr{
		Env: []string{}, Files: []*os.File{null, out.ends[0], out.ends[1], theirs}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	theirs.Close()
	if err != nil {
		return c, err
	}
	c.pid = p.Pid
	return c, c.introduce(ours, job)
}

// introduce tells the child what to become and waits until it is.
func (c *command) introduce(ours *os.File, job wire.Job) error {
	conn := wire.New(ours, ours)
	if err := conn.SendJSON(wire.Setup, job); err != nil {
		return err
	}
	if c.asked {
		listener, err := takeListener(int(ours.Fd()))
		if err != nil {
			return err
		}
		if listener >= 0 {
			c.tasks = &tasks{listener: listener, limit: int(job.Pids)}
			c.guards.Go(c.tasks.guard)
		}
		if _, err := ours.Write([]byte{'.'}); err != nil {
			return err
		}
	}
	kind, payload, err := conn.Read()
	if err == io.EOF {
		return nil // it has become the command, which has no such descriptor
	}
	p := &wire.Problem{}
	if err == nil && kind == wire.Failure {
		err = json.Unmarshal(payload, p)
	}
	if err != nil {
		return err
	}
	return p
}

// takeListener receives a listener, or -1 when there is none.
func takeListener(from int) (int, error) {
	said, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, rn, _, _, err := unix.Recvmsg(from, said, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n != 1 {
		return -1, errors.Join(errors.New("the command's process ended before it was the command"), err)
	}
	if said[0] != bounded {
		return -1, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil || len(messages) != 1 {
		return -1, errors.Join(errors.New("there is no listener"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.Join(errors.New("there is no listener"), err)
	}
	return fds[0], nil
}

// wait waits for what watches the command's processes, of which none is left.
func (c *command) wait() { c.guards.Wait() }

// means says how the number of processes was bounded.
func (c *command) means() string {
	switch {
	case !c.asked:
		return ""
	case c.tasks == nil:
		return "none"
	}
	return "seccomp"
}

// become makes this process the command. It returns only when that is impossible, and then
// the agent has been told.
func become() error {
	runtime.LockOSThread() // whose filter the command inherits
	unix.CloseOnExec(childConn)
	file := os.NewFile(childConn, "agent")
	conn := wire.New(file, file)
	var job wire.Job
	if err := receive(conn, wire.Setup, &job); err != nil {
		return err
	}
	p := becomes(job, file)
	return errors.Join(p, conn.SendJSON(wire.Failure, p))
}

func becomes(job wire.Job, agent *os.File) *wire.Problem {
	if err := os.Chdir(job.Dir); err != nil {
		return &wire.Problem{Sort: wire.NoDir, Why: err.Error()}
	}
	path, err := find(job)
	if err != nil {
		return &wire.Problem{Sort: wire.NoCommand, Why: err.Error()}
	}
	unix.Umask(0o022)
	if job.Pids > 0 {
		if err := bound(agent); err != nil {
			return &wire.Problem{Sort: wire.Broken, Why: err.Error()}
		}
	}
	err = syscall.Exec(path, job.Command, job.Env)
	if errors.Is(err, syscall.ENOEXEC) { // a script without a first line, as execvp(3) has it
		err = syscall.Exec("/bin/sh", append([]string{"sh", path}, job.Command[1:]...), job.Env)
	}
	return &wire.Problem{Sort: wire.NoCommand, Why: fmt.Sprintf("%s: %v", path, err)}
}

// find looks the command up as execvp(3) does, in the PATH of its own environment.
func find(job wire.Job) (string, error) {
	name := job.Command[0]
	if strings.Contains(name, "/") {
		return name, program(name)
	}
	search := "/bin:/usr/bin"
	for _, e := range job.Env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			search = value
		}
	}
	for _, dir := range filepath.SplitList(search) {
		if path := filepath.Join(dir, name); filepath.IsAbs(dir) && program(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is in no folder of PATH", name)
}

// program says what is wrong with a file that is to be run.
func program(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is no program", path)
	}
	return nil
}
