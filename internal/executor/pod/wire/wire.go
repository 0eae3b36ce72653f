// Package wire takes the messages that an executor and its agent in a pod have for each
// other and gives them as frames on a stream: a kind, a length and a payload.
package wire

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Kind says what a frame is.
type Kind byte

// The kinds, in the order in which a step has them. The executor sends the first group, the
// agent the second.
const (
	Setup    Kind = 'S' // a Job
	Input    Kind = 'I' // a piece of the tar of all that the step is given
	InputEnd Kind = 'J' // the tar has ended
	Credit   Kind = 'C' // a count: so many more bytes of Stdout, Stderr and Output may come
	Kill     Kind = 'K' // end the step now
	Bye      Kind = 'Q' // all has arrived

	Probed    Kind = 'P' // a list of the addresses that answer, for a Job without a command
	Ready     Kind = 'R' // the inputs are in place: the step's container may start
	Started   Kind = 'G' // the command runs
	Stdout    Kind = 'O' // what the command printed
	Stderr    Kind = 'E'
	Exit      Kind = 'X' // an End: the command has ended, with all that it started
	Removed   Kind = 'D' // a name in a returned folder that is gone
	Output    Kind = 'T' // a piece of the tar of what changed in returned folders
	OutputEnd Kind = 'U' // the tar has ended
	Failure   Kind = 'F' // a Problem: the step is over without an End

	Beat Kind = 'B' // the other side is alive; both send it
)

// Window is how many bytes of Stdout, Stderr and Output the agent may send before it has
// Credit for more. It starts with a whole one. What the executor cannot pass on waits in the
// pod, and not in a connection that would be taken for dead.
const Window = 1 << 20

// Silence is how long a side hears nothing before it takes the other for dead. Beats come
// several times as often.
const (
	Silence   = time.Minute
	BeatEvery = 10 * time.Second
)

// Secrets is the folder of the input in which files are that are to be nowhere for longer
// than they must.
const Secrets = "data"

// MaxPiece bounds the payload of a frame, in bytes; maxJob that of Setup, which holds the
// command and its environment (execve(2) allows 2 MiB of them, and JSON writes a byte with
// up to six).
const (
	MaxPiece = 64 << 10
	maxJob   = 16 << 20
)

// Job is what the agent is to do: run a command, or, without one, say which of Probes and
// the API server's own address answer.
type Job struct {
	Command []string
	Env     []string // as in executor.Step, with PWD
	Dir     string
	Pids    int64         // how many processes and threads there may be; 0 is any number
	Wall    time.Duration // how long the command may run; 0 is for ever
	Isolate bool          // run only where no network can be reached
	Probes  []string      // addresses, host:port, that answer pods with a network: none may answer

	Returned []string // folders of the input whose changes are sent back
	MaxFiles int      // how many may have changed
	MaxBytes int64    // how large they may be together
}

// End is how the command ended.
type End struct {
	Code     int // as a shell has it: 128+n is signal n
	Late     bool
	OOM      bool // the kernel killed a process for want of memory
	Duration time.Duration
	Pids     string // how the number of processes was bounded: "seccomp", or "none"
	Memory   int64  // the limits that the container's cgroup says it has: bytes, or 0
	MilliCPU int64  // thousandths of a processor, or 0
}

// Sort says what kind of a failure a Problem is.
type Sort string

// The sorts.
const (
	NoCommand Sort = "command"  // the command is no program
	NoDir     Sort = "dir"      // the working directory cannot be entered
	Unproven  Sort = "unproven" // there is a network, and nothing to prove by that it leads nowhere
	Reachable Sort = "network"  // a step without network could reach something
	Refused   Sort = "returned" // what the step left is more than may be returned
	Broken    Sort = "broken"   // anything else
)

// Problem is why there is no End.
type Problem struct {
	Sort Sort
	Why  string
}

func (p *Problem) Error() string { return p.Why }

// Conn is one end of a stream of frames. One goroutine may read while others write.
type Conn struct {
	in  *bufio.Reader
	buf []byte

	mu  sync.Mutex
	out io.Writer
}

// New gives the end that reads from r and writes to w.
func New(r io.Reader, w io.Writer) *Conn {
	return &Conn{in: bufio.NewReaderSize(r, MaxPiece), out: w}
}

const header = 5 // the kind and four bytes of length, big-endian

// Send writes one frame, which is at most MaxPiece long unless it is Setup.
func (c *Conn) Send(kind Kind, payload []byte) error {
	frame := make([]byte, header, header+len(payload))
	frame[0] = byte(kind)
	binary.BigEndian.PutUint32(frame[1:], uint32(len(payload)))
	frame = append(frame, payload...)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.out.Write(frame)
	return err
}

// SendJSON writes a frame whose payload is the value as JSON.
func (c *Conn) SendJSON(kind Kind, value any) error {
	payload, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if len(payload) > limit(kind) {
		return fmt.Errorf("the message %q has %d bytes, more than %d", kind, len(payload), limit(kind))
	}
	return c.Send(kind, payload)
}

// SendCredit writes how many bytes more may come.
func (c *Conn) SendCredit(n int) error {
	return c.Send(Credit, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// Read gives the next frame. Its payload is valid until the next call. A stream that ends
// between frames ends with io.EOF.
func (c *Conn) Read() (Kind, []byte, error) {
	var head [header]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	kind, n := Kind(head[0]), int(binary.BigEndian.Uint32(head[1:]))
	if n > limit(kind) {
		return 0, nil, fmt.Errorf("a frame %q has %d bytes, more than %d", kind, n, limit(kind))
	}
	// A length is only believed as far as bytes come: memory grows with what was read.
	c.buf = c.buf[:0]
	for len(c.buf) < n {
		have, more := len(c.buf), min(n-len(c.buf), MaxPiece)
		if cap(c.buf) < have+more {
			c.buf = append(make([]byte, 0, max(have+more, 2*cap(c.buf))), c.buf...)
		}
		c.buf = c.buf[:have+more]
		if _, err := io.ReadFull(c.in, c.buf[have:]); err != nil {
			return 0, nil, broken(err)
		}
	}
	return kind, c.buf, nil
}

// broken gives the error of a stream that ends within a frame.
func broken(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func limit(kind Kind) int {
	if kind == Setup {
		return maxJob
	}
	return MaxPiece
}

// CreditOf reads the payload of a Credit frame.
func CreditOf(payload []byte) (int, error) {
	if len(payload) != 4 {
		return 0, fmt.Errorf("a credit of %d bytes is no number", len(payload))
	}
	n := binary.BigEndian.Uint32(payload)
	if n > Window {
		return 0, fmt.Errorf("a credit of %d is more than a window", n)
	}
	return int(n), nil
}
