package pod

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/pod/tree"
	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
)

// endWithin is how long the agent has to end a step that is to end.
const endWithin = 5 * time.Second

// session is the conversation with one agent.
type session struct {
	run     *run
	stream  *stream
	watcher *watcher
	began   time.Time // when the command was started; zero until then
	owed    credit
	back    *homecoming
}

// converse has the agent run the step.
func (r *run) converse(ctx context.Context, stream *stream, w *watcher) (err error) {
	s := &session{run: r, stream: stream, watcher: w, back: newHomecoming(r)}
	r.out = newPrinter(r.to[0], r.to[1])
	s.owed.send = stream.conn.SendCredit
	defer func() { err = s.back.close(err) }()
	talking, hangUp := context.WithCancelCause(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer stream.end() // with which ends what the others wait for
	defer hangUp(nil)
	others.Go(func() { s.speak(talking) })
	others.Go(func() { s.beat(talking) })
	others.Go(func() { r.out.print(s.owed.grant, hangUp) })
	defer r.out.close()
	stop := context.AfterFunc(talking, s.kill)
	defer stop()
	err = s.listen(talking)
	if cause := context.Cause(talking); cause != nil {
		return cause
	}
	return err
}

// speak sends the job and all that it is given.
func (s *session) speak(ctx context.Context) {
	err := s.stream.conn.SendJSON(wire.Setup, s.run.job())
	input := bufio.NewWriterSize(pieces{s.stream.conn}, wire.MaxPiece) // a tar is written in many small parts
	if err == nil {
		err = s.run.plan.send(ctx, tree.NewPacker(ctx, input))
	}
	if err == nil {
		err = input.Flush()
	}
	if err == nil {
		err = s.stream.conn.Send(wire.InputEnd, nil)
	}
	if err != nil {
		s.stream.in.CloseWithError(err)
		s.stream.out.CloseWithError(err) // the listener says it
	}
}

// pieces sends what is written as the step's input.
type pieces struct{ conn *wire.Conn }

func (p pieces) Write(b []byte) (int, error) {
	sent := 0
	for len(b) > 0 {
		n := min(len(b), wire.MaxPiece)
		if err := p.conn.Send(wire.Input, b[:n]); err != nil {
			return sent, err
		}
		b, sent = b[n:], sent+n
	}
	return sent, nil
}

func (s *session) beat(ctx context.Context) {
	tick := time.NewTicker(wire.BeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.stream.conn.Send(wire.Beat, nil) != nil {
				return
			}
		}
	}
}

// kill has the agent end the step, and ends the stream, with which the step ends too, when
// that takes too long.
func (s *session) kill() {
	timer := time.AfterFunc(endWithin, s.stream.close)
	defer timer.Stop()
	_ = s.stream.conn.Send(wire.Kill, nil)
	<-s.back.over
}

// listen takes what the agent says until all has arrived.
func (s *session) listen(ctx context.Context) error {
	defer s.back.end()
	silence := time.AfterFunc(wire.Silence, func() {
		s.stream.out.CloseWithError(fmt.Errorf("nothing was heard of the pod for %s", wire.Silence))
	})
	defer silence.Stop()
	for {
		kind, payload, err := s.stream.conn.Read()
		if err != nil {
			return fmt.Errorf("the stream to the pod broke: %w", err)
		}
		silence.Reset(wire.Silence)
		done, err := s.take(ctx, kind, payload)
		if done || err != nil {
			return err
		}
	}
}

// take takes one message, and says whether it was the last.
func (s *session) take(ctx context.Context, kind wire.Kind, payload []byte) (bool, error) {
	switch kind {
	case wire.Started:
		s.began = time.Now()
		s.watcher.started()
	case wire.Stdout, wire.Stderr:
		return false, s.run.out.add(kind, payload)
	case wire.Failure:
		return false, s.failure(ctx, payload)
	case wire.Exit:
		var end wire.End
		if err := json.Unmarshal(payload, &end); err != nil {
			return false, err
		}
		s.run.conclude(end)
		if ctx.Err() != nil || len(s.run.plan.returned) == 0 {
			return true, s.stream.farewell()
		}
	case wire.Removed:
		s.owed.grant(len(payload))
		return false, s.back.remove(string(payload))
	case wire.Output:
		err := s.back.write(ctx, payload)
		s.owed.grant(len(payload))
		return false, err
	case wire.OutputEnd:
		if all, err := s.back.next(ctx); !all || err != nil {
			return false, err
		}
		return true, s.stream.farewell()
	}
	return false, nil
}

// failure says why there is no end of the step, unless it was killed with its container.
func (s *session) failure(ctx context.Context, payload []byte) error {
	p := &wire.Problem{}
	if err := errors.Join(json.Unmarshal(payload, p), s.stream.farewell()); err != nil {
		return err
	}
	if p.Sort == wire.Broken && !s.began.IsZero() && s.watcher.autopsy(ctx) {
		s.run.conclude(wire.End{Code: 128 + 9, OOM: true, Duration: time.Since(s.began), Memory: s.run.step.Limits.Memory})
		return errKilled
	}
	return p
}

// errKilled says that the step has a result, and no folders.
var errKilled = errors.New("its container was killed")

// conclude makes the result of how the command ended.
func (r *run) conclude(end wire.End) {
	l := r.step.Limits
	r.result = executor.Result{ExitCode: end.Code, Reason: executor.Exited, Duration: end.Duration}
	switch {
	case end.Late:
		r.result.ExitCode, r.result.Signal, r.result.Reason = 128+9, syscall.SIGKILL, executor.TimedOut
	case end.Code > 128 && end.Code <= 128+64:
		r.result.Signal, r.result.Reason = syscall.Signal(end.Code-128), executor.Signaled
	}
	if end.OOM && end.Code != 0 && !end.Late {
		r.result.Reason = executor.OutOfMemory
	}
	kept := func(limit, is int64) executor.Means {
		switch {
		case limit == 0:
			return executor.NotAsked
		case is > 0 && is <= limit:
			return executor.Cgroup
		}
		return executor.None
	}
	r.result.Enforced = executor.Enforced{
		CPU: kept(l.MilliCPU, end.MilliCPU), Memory: kept(l.Memory, end.Memory), Pids: executor.Means(end.Pids),
	}
	if l.Wall > 0 {
		r.result.Enforced.Wall = executor.Timer
	}
}

// credit gathers what is granted, so that not every piece is answered.
type credit struct {
	mu   sync.Mutex
	owed int
	send func(int) error
}

func (c *credit) grant(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed += n; c.owed < wire.Window/4 {
		return
	}
	n, c.owed = c.owed, 0
	_ = c.send(n) // a stream that is over needs none
}
