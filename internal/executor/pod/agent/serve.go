package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/executor/pod/tree"
	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
)

// How long the agent waits for the others, who each wait for nothing but the machine.
const (
	forExecutor = 5 * time.Minute
	forKubelet  = 2 * time.Minute
)

// server is the agent in the first container.
type server struct {
	root   *os.Root // where the volumes are mounted
	door   *door
	pipe   *wire.Conn
	sender *wire.Sender
	inputs *io.PipeWriter
	bye    chan struct{} // closed when the executor has all

	mu   sync.Mutex
	step *wire.Conn // once there is one
}

// serve does one job with the volumes mounted below dir.
func serve(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	door, err := openDoor()
	if err != nil {
		return err
	}
	defer door.close()
	c, err := door.wait(ctx, piped, forExecutor)
	if err != nil {
		return err
	}
	defer c.Close()
	s := &server{root: root, door: door, pipe: wire.New(patient{c}, c), bye: make(chan struct{})}
	s.sender = wire.NewSender(s.pipe)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { s.sender.Close(); c.Close() })
	defer stop()
	if err := s.pipe.Send(wire.Beat, nil); err != nil { // the executor waits for somebody to be here
		return err
	}
	var job wire.Job
	if err := receive(s.pipe, wire.Setup, &job); err != nil {
		return err
	}
	defer s.forget()
	r, w := io.Pipe()
	s.inputs = w
	var others sync.WaitGroup
	defer others.Wait()
	defer c.Close()
	others.Go(func() { cancel(s.listen()) })
	others.Go(func() { s.beat(ctx) })
	if err := s.do(ctx, job, r); err != nil {
		cancel(err)
		return err
	}
	select { // what was sent must arrive before the stream ends
	case <-s.bye:
	case <-ctx.Done():
	}
	cancel(nil)
	return nil
}

// do does the job, or tells the executor why it does not.
func (s *server) do(ctx context.Context, job wire.Job, inputs *io.PipeReader) error {
	defer inputs.Close()
	err := s.work(ctx, job, inputs)
	var p *wire.Problem
	if err != nil && !errors.As(err, &p) {
		p = &wire.Problem{Sort: wire.Broken, Why: err.Error()}
	}
	if p != nil {
		return s.pipe.SendJSON(wire.Failure, p)
	}
	return nil
}

func (s *server) work(ctx context.Context, job wire.Job, inputs io.Reader) error {
	if len(job.Command) == 0 {
		return s.pipe.SendJSON(wire.Probed, reached(ctx, job.Probes))
	}
	if job.Isolate {
		if err := isolated(ctx, job.Probes); err != nil {
			return err
		}
	}
	if err := tree.Unpack(ctx, s.root, inputs, tree.Bounds{}); err != nil {
		return fmt.Errorf("unpack the step's folders: %w", err)
	}
	if _, err := io.Copy(io.Discard, inputs); err != nil { // what follows a tar's end
		return err
	}
	returned, err := s.snap(job.Returned)
	if err != nil {
		return err
	}
	defer closeAll(returned)
	end, err := s.runStep(ctx, job)
	if err != nil {
		return err
	}
	if err := s.pipe.SendJSON(wire.Exit, end); err != nil {
		return err
	}
	return s.sendBack(ctx, job, returned)
}

// returned is a folder whose changes are sent back.
type returned struct {
	root   *os.Root
	before *tree.Snapshot
}

func (s *server) snap(folders []string) ([]returned, error) {
	var out []returned
	for _, name := range folders {
		root, err := s.root.OpenRoot(name)
		if err != nil {
			closeAll(out)
			return nil, err
		}
		before, err := tree.Snap(root)
		out = append(out, returned{root, before})
		if err != nil {
			closeAll(out)
			return nil, err
		}
	}
	return out, nil
}

func closeAll(folders []returned) {
	for _, f := range folders {
		f.root.Close()
	}
}

// runStep lets the second container start and sees its command to the end.
func (s *server) runStep(ctx context.Context, job wire.Job) (wire.End, error) {
	var end wire.End
	if s.door.came(ran) {
		return end, errors.New("the step's container was started before its folders were filled: " +
			"what runs pods here does not wait for a container's postStart hook")
	}
	hook, err := s.door.wait(ctx, held, forKubelet)
	if err != nil {
		return end, err
	}
	defer hook.Close()
	if _, err := hook.Write([]byte{'.'}); err != nil {
		return end, fmt.Errorf("release the kubelet's hook: %w", err)
	}
	if err := s.pipe.Send(wire.Ready, nil); err != nil {
		return end, err
	}
	c, err := s.door.wait(ctx, ran, forKubelet)
	if err != nil {
		return end, err
	}
	defer c.Close()
	s.door.listener.Close() // the step's processes come next
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	step := wire.New(c, c)
	s.mu.Lock()
	s.step = step
	s.mu.Unlock()
	if err := step.SendJSON(wire.Setup, job); err != nil {
		return end, err
	}
	return s.relay(step)
}

// relay passes on what the step says until it has ended.
func (s *server) relay(step *wire.Conn) (wire.End, error) {
	var end wire.End
	for {
		kind, payload, err := step.Read()
		if err != nil {
			return end, fmt.Errorf("the step's container has ended: %w", err)
		}
		switch kind {
		case wire.Stdout, wire.Stderr:
			err = s.sender.Send(kind, payload)
		case wire.Started:
			err = s.pipe.Send(kind, nil)
		case wire.Exit:
			return end, json.Unmarshal(payload, &end)
		case wire.Failure:
			p := &wire.Problem{}
			if err := json.Unmarshal(payload, p); err != nil {
				return end, err
			}
			return end, p
		}
		if err != nil {
			return end, err
		}
	}
}

// sendBack sends what has changed in the returned folders, each as a tar.
func (s *server) sendBack(ctx context.Context, job wire.Job, folders []returned) error {
	bounds := tree.Bounds{Files: job.MaxFiles, Bytes: job.MaxBytes}
	for i, f := range folders {
		changes, err := f.before.Changes(f.root, bounds)
		if errors.Is(err, tree.ErrTooMuch) {
			return &wire.Problem{Sort: wire.Refused, Why: fmt.Sprintf("what changed in folder %d: %v", i, err)}
		}
		if err != nil {
			return err
		}
		for _, name := range changes.Removed {
			if err := s.sender.Send(wire.Removed, []byte(name)); err != nil {
				return err
			}
		}
		output := bufio.NewWriterSize(s.sender.Writer(wire.Output), wire.MaxPiece) // a tar is written in many small parts
		if err := errors.Join(changes.Pack(ctx, output), output.Flush()); err != nil {
			return err
		}
		if err := s.pipe.Send(wire.OutputEnd, nil); err != nil {
			return err
		}
	}
	return nil
}

// forget removes what is secret before the kubelet removes all.
func (s *server) forget() {
	list, err := fs.ReadDir(s.root.FS(), wire.Secrets)
	if err != nil {
		return // the job had none
	}
	for _, e := range list {
		_ = s.root.RemoveAll(path.Join(wire.Secrets, e.Name())) // it is in memory that goes with the pod
	}
}

// listen does what the executor says until it says no more.
func (s *server) listen() error {
	defer s.inputs.Close()
	for {
		kind, payload, err := s.pipe.Read()
		if err != nil {
			err = fmt.Errorf("the executor is gone: %w", err)
			s.inputs.CloseWithError(err)
			return err
		}
		switch kind {
		case wire.Input:
			_, _ = s.inputs.Write(payload) // who reads it says what is wrong
		case wire.InputEnd:
			s.inputs.Close()
		case wire.Credit:
			n, err := wire.CreditOf(payload)
			if err != nil {
				return err
			}
			s.sender.Grant(n)
		case wire.Kill:
			s.kill()
		case wire.Bye:
			close(s.bye)
			return nil
		}
	}
}

func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.step != nil {
		_ = s.step.Send(wire.Kill, nil) // a step that is gone is dead
	}
}

func (s *server) beat(ctx context.Context) {
	tick := time.NewTicker(wire.BeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.pipe.Send(wire.Beat, nil) != nil {
				return // the listener sees it, too
			}
		}
	}
}

// patient reads from a side that beats.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(wire.Silence)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// receive reads one message that must be of the kind.
func receive(c *wire.Conn, want wire.Kind, into any) error {
	kind, payload, err := c.Read()
	if err != nil {
		return err
	}
	if kind != want {
		return fmt.Errorf("got a message %q, want %q", kind, want)
	}
	return json.Unmarshal(payload, into)
}
