package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
)

// How a part that ends unasked is started again: after a pause that doubles with each end, and
// is short again when the part ran for a while.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 10 * time.Second
	longRun    = 30 * time.Second
)

// program is what a part runs.
type program struct {
	name string
	path string
	args []string
	env  []string // beside this process's own
	// flags are the namespaces that the program gets of its own, as clone(2) names them.
	flags uintptr
	// enter is called in the thread that starts the program, before it does, and may move
	// that thread into namespaces. nil stays where we are.
	enter func() error
	// started is called after each start with the program's id and what it writes to
	// descriptor 3; its error ends the program.
	started func(pid int, said *os.File) error
	// grace is how long the program may take to end when asked; 0 means ten seconds.
	grace time.Duration
}

// part is a program that is kept running.
type part struct {
	program
	pidFile string
	log     *boundedLog
	logger  *slog.Logger

	stopping chan struct{}
	once     sync.Once
	ended    chan struct{}

	mu       sync.Mutex
	pid      int
	restarts int
	why      error // of the last end
}

// end gives how often the program ended unasked, and why the last time.
func (p *part) end() (times int, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restarts, p.why
}

// startPart starts to run a program and gives it at once.
func startPart(p program, runDir, logDir string, logger *slog.Logger) *part {
	started := &part{
		program: p, logger: logger, log: newBoundedLog(filepath.Join(logDir, p.name+".log")),
		pidFile: filepath.Join(runDir, p.name+".pid"), stopping: make(chan struct{}), ended: make(chan struct{}),
	}
	go started.keep()
	return started
}

// keep runs the program until stop, again and again.
func (p *part) keep() {
	defer close(p.ended)
	defer p.log.Close()
	for pause := firstPause; ; {
		began := time.Now()
		err := p.runOnce()
		if p.asked() {
			return
		}
		if time.Since(began) > longRun {
			pause = firstPause
		}
		p.logger.Warn("a part of the cluster ended and is started again", "part", p.name, "why", err, "pause", pause, "log", p.log.path)
		p.mu.Lock()
		p.restarts, p.why = p.restarts+1, err
		p.mu.Unlock()
		select {
		case <-p.stopping:
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longPause)
	}
}

// runOnce runs the program to its end.
func (p *part) runOnce() error {
	// The kernel ends the program when the thread that started it does: this one lasts as
	// long as the program.
	return onOwnThread(p.enter != nil, p.onThisThread)
}

// onOwnThread runs f on a thread that does nothing else meanwhile, and that ends with f when f
// spoils it.
func onOwnThread(spoils bool, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if spoils && syscall.Gettid() == os.Getpid() {
			// The first thread would stay, and hold what it has entered. Another cannot be the
			// first while this one is locked.
			result <- onOwnThread(true, f)
			runtime.UnlockOSThread()
			return
		}
		result <- f()
		if !spoils {
			runtime.UnlockOSThread()
		}
	}()
	return <-result
}

func (p *part) onThisThread() error {
	if p.enter != nil {
		if err := p.enter(); err != nil {
			return err
		}
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: p.flags}
	if p.enter != nil {
		// It ends with the first process of its namespaces. For a death signal Go has the child
		// ask who its parent is, and the answer from there would be nobody.
		cmd.SysProcAttr.Pdeathsig = 0
	}
	cmd.WaitDelay = time.Second // who still holds its output is not waited for
	said, saying, err := os.Pipe()
	if err != nil {
		return err
	}
	defer said.Close()
	cmd.ExtraFiles = []*os.File{saying}
	err = cmd.Start()
	saying.Close()
	if err != nil {
		return err
	}
	p.setPID(cmd.Process.Pid)
	defer p.setPID(0)
	if p.started != nil {
		if err := p.started(cmd.Process.Pid, said); err != nil {
			_ = cmd.Process.Kill() // it has ended already when this fails
			_ = cmd.Wait()
			return err
		}
	}
	if p.asked() { // too late for stop to see this process
		p.signal(syscall.SIGTERM)
	}
	return cmd.Wait()
}

// stop asks the program to end, and kills it when its grace or ctx is over.
func (p *part) stop(ctx context.Context) {
	p.once.Do(func() { close(p.stopping) })
	grace := p.grace
	if grace == 0 {
		grace = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return
	case <-ctx.Done():
	}
	p.signal(syscall.SIGKILL)
	<-p.ended
}

func (p *part) asked() bool {
	select {
	case <-p.stopping:
		return true
	default:
		return false
	}
}

// signal sends a signal to the program's process group, if it runs.
func (p *part) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid != 0 {
		_ = syscall.Kill(-p.pid, sig) // it has ended already when this fails
	}
}

func (p *part) setPID(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pid = pid
	if pid == 0 {
		_ = os.Remove(p.pidFile) // who finds it finds no such process
		return
	}
	if err := aside.WriteBytes(p.pidFile, []byte(identity(pid))); err != nil {
		p.logger.Warn("a process id was not kept", "part", p.name, "error", err)
	}
}

func (p *part) state() Part {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Part{Name: p.name, PID: p.pid, Restarts: p.restarts, Log: p.log.path}
	if p.pid != 0 {
		s.Memory = resident(p.pid)
	}
	return s
}

// endLeftOver kills what a killed process left running, and waits until it is gone. The kernel
// does this by itself a moment after such a death.
func endLeftOver(runDir string) error {
	files, err := filepath.Glob(filepath.Join(runDir, "*.pid"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		was := string(text)
		pid, _ := strconv.Atoi(strings.Fields(was + " 0")[0])
		for deadline := time.Now().Add(10 * time.Second); pid > 0 && identity(pid) == was; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d of %s does not end", pid, file)
			}
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

// identity names a process as no other ever is: its id, when it started, and the boot. It is
// "" for one that has ended.
func identity(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// proc_pid_stat(5): the name in brackets may hold anything; the state follows it, and the
	// start time is the 20th field from there.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	fields := strings.Fields(rest)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fmt.Sprintf("%d %s %s", pid, fields[19], strings.TrimSpace(string(boot)))
}

// resident gives the bytes of memory that a process holds alone.
func resident(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "RssAnon:")
	kib, _ := strconv.ParseInt(strings.Fields(after + " 0")[0], 10, 64)
	return kib << 10
}
