package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
)

// stepper is the agent in the second container, its first process: the kernel gives it all
// processes whose parents are gone, and spares it what the step's user may do to others.
type stepper struct {
	conn   *wire.Conn
	job    wire.Job
	killed atomic.Bool // no process is to live
	late   atomic.Bool
}

// step runs the command of the job that comes from the first container.
func step(ctx context.Context) error {
	if os.Getpid() != 1 {
		return errors.New("a step's agent ends all processes it sees: it must be the first of its own namespace")
	}
	// The step has the same user: without this it could read and write here.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	c, err := knock(ctx, ran)
	if err != nil {
		return err
	}
	defer c.Close()
	s := &stepper{conn: wire.New(c, c)}
	if err := receive(s.conn, wire.Setup, &s.job); err != nil {
		return err
	}
	var others sync.WaitGroup
	defer others.Wait()
	defer c.Close()
	others.Go(s.listen)
	stop := context.AfterFunc(ctx, s.kill)
	defer stop()
	end, err := s.run()
	var p *wire.Problem
	switch {
	case err == nil:
		return s.conn.SendJSON(wire.Exit, end)
	case !errors.As(err, &p):
		p = &wire.Problem{Sort: wire.Broken, Why: err.Error()}
	}
	return s.conn.SendJSON(wire.Failure, p)
}

// listen ends the step when it is told to, or when there is nobody who could tell.
func (s *stepper) listen() {
	for {
		kind, _, err := s.conn.Read()
		if err != nil || kind == wire.Kill {
			s.kill()
		}
		if err != nil {
			return
		}
	}
}

func (s *stepper) kill() {
	s.killed.Store(true)
	killAll()
}

// killAll kills every process but this one, and so also those that are made meanwhile: the
// kernel lets no process fork that is to die.
func killAll() { _ = unix.Kill(-1, unix.SIGKILL) }

func (s *stepper) run() (wire.End, error) {
	var end wire.End
	out, err := newOutput(s.conn)
	if err != nil {
		return end, err
	}
	killedBefore := oomKills()
	c, err := start(s.job, out)
	out.started()
	if err != nil {
		killAll()
		reap(0)
		out.wait()
		c.wait()
		return end, err
	}
	began := time.Now()
	if err := s.conn.Send(wire.Started, nil); err != nil || s.killed.Load() {
		s.kill()
	}
	if s.job.Wall > 0 {
		timer := time.AfterFunc(s.job.Wall, func() { s.late.Store(true); s.kill() })
		defer timer.Stop()
	}
	status := reap(c.pid)
	end.Duration = time.Since(began)
	killAll()
	reap(0)
	out.wait()
	c.wait()
	end.Late = s.late.Load()
	end.Code = status.ExitStatus()
	if status.Signaled() {
		end.Code = 128 + int(status.Signal())
	}
	end.OOM = oomKills() > killedBefore
	end.Pids, end.Memory, end.MilliCPU = c.means(), memoryLimit(), cpuLimit()
	return end, nil
}

// reap waits until the process has ended, or, for 0, until there is none left, and gives
// its status. It takes in all others meanwhile.
func reap(pid int) syscall.WaitStatus {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return status // ECHILD: none is left
		case got == pid:
			return status
		case pid == 0:
			killAll() // one that came to us only now
		}
	}
}

// output carries what the step prints.
type output struct {
	conn  *wire.Conn
	ends  []*os.File // the step's
	pumps sync.WaitGroup
}

func newOutput(conn *wire.Conn) (*output, error) {
	o := &output{conn: conn}
	for _, kind := range []wire.Kind{wire.Stdout, wire.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			o.started()
			return nil, fmt.Errorf("make the step's output: %w", err)
		}
		o.ends = append(o.ends, w)
		o.pumps.Go(func() { o.pump(kind, r) })
	}
	return o, nil
}

// pump sends what comes. A step whose output nobody takes finds it closed.
func (o *output) pump(kind wire.Kind, r *os.File) {
	defer r.Close()
	buf := make([]byte, wire.MaxPiece)
	for {
		n, err := r.Read(buf)
		if n > 0 && o.conn.Send(kind, buf[:n]) != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// started closes this process's copies of the step's ends.
func (o *output) started() {
	for _, w := range o.ends {
		w.Close()
	}
	o.ends = nil
}

func (o *output) wait() { o.pumps.Wait() }

func stdin() io.Reader  { return os.Stdin }
func stdout() io.Writer { return os.Stdout }
