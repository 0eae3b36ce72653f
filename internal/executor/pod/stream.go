package pod

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
)

// stream is what connects an executor with the agent in a pod.
type stream struct {
	conn  *wire.Conn
	in    *io.PipeWriter
	out   *io.PipeReader
	close context.CancelFunc
	ended chan struct{} // closed when the stream is over

	ending sync.Once
	bye    bool // the agent was told that it may go
}

// connect reaches the agent, which may not be there yet: until ctx ends.
func (e *Executor) connect(ctx context.Context, pod *corev1.Pod) (*stream, error) {
	for wait := 25 * time.Millisecond; ; wait = min(wait*3/2, 500*time.Millisecond) {
		s, err := e.dial(ctx, pod)
		if err == nil {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
}

// dial tries to reach the agent once. The agent says something first, so that whoever
// carries the stream cannot pass for it.
func (e *Executor) dial(ctx context.Context, pod *corev1.Pod) (*stream, error) {
	exec, err := e.exec(pod)
	if err != nil {
		return nil, err
	}
	// The stream outlasts ctx, by what it takes to end a step.
	streaming, cancel := context.WithCancel(context.WithoutCancel(ctx))
	agentIn, in := io.Pipe()
	out, agentOut := io.Pipe()
	s := &stream{conn: wire.New(out, in), in: in, out: out, close: cancel, ended: make(chan struct{})}
	said := &head{}
	go func() {
		err := exec.StreamWithContext(streaming, remotecommand.StreamOptions{Stdin: agentIn, Stdout: agentOut, Stderr: said})
		if err == nil || said.text() != "" {
			err = errors.Join(err, errors.New("the agent has ended: "+said.text()))
		}
		in.Close()
		agentOut.CloseWithError(err)
		close(s.ended)
	}()
	stop := context.AfterFunc(ctx, cancel)
	kind, _, err := s.conn.Read()
	if err == nil && kind != wire.Beat {
		err = errors.New("who answers is no agent")
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// exec gives the way to the agent: WebSockets, or SPDY where something on the way knows no
// WebSockets.
func (e *Executor) exec(pod *corev1.Pod) (remotecommand.Executor, error) {
	request := e.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: agentName, Command: []string{AgentPath, "pipe"}, Stdin: true, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec)
	sockets, err := remotecommand.NewWebSocketExecutor(e.config, "GET", request.URL().String())
	if err != nil {
		return nil, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(e.config, "POST", request.URL())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(sockets, spdy, func(err error) bool {
		return (httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)) && !strings.Contains(err.Error(), "not found")
	})
}

// farewell tells the agent that it may go.
func (s *stream) farewell() error {
	s.bye = true
	return s.conn.Send(wire.Bye, nil)
}

// goWithin is how long an agent that may go has to.
const goWithin = 2 * time.Second

// end ends the stream and waits until it is over. An agent that may go ends it itself, and
// first.
func (s *stream) end() {
	s.ending.Do(func() {
		defer s.close()
		if !s.bye {
			s.close()
		}
		patience := time.AfterFunc(goWithin, s.close)
		defer patience.Stop()
		s.in.Close()
		_, _ = io.Copy(io.Discard, s.out) // until the other side is closed
		<-s.ended
	})
}

// head keeps the first kilobyte of what is written.
type head struct{ kept []byte }

func (t *head) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[:min(len(p), 1024-len(t.kept))]...)
	return len(p), nil
}

func (t *head) text() string { return strings.TrimSpace(string(t.kept)) }
