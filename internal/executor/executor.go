// Package executor takes a Step (a root filesystem, a command and its limits) and gives
// its Result; the adapters in its folders say where the step runs.
package executor

import (
	"context"
	"io"
	"syscall"
	"time"
)

// Executor runs steps. Its adapters are safe for concurrent use and all pass the suite in
// package executortest.
type Executor interface {
	// Run runs one step to its end and streams what it prints. Whatever the step did,
	// it is over when Run returns: no process, mount or folder of it is left.
	//
	// A step that ran has a Result and no error, even when it failed, was killed or ran
	// out of time. An error is a *fault.Error: Usage for a Step that makes no sense,
	// NotFound for a command that is not in the root filesystem, Unavailable when this
	// machine cannot run steps, Canceled (wrapping ctx.Err()) when ctx ended first.
	//
	// A nil writer discards. The writers are never written to at the same time, so both
	// may be the same. A writer that blocks holds the step back; nothing is dropped.
	Run(ctx context.Context, step Step, stdout, stderr io.Writer) (Result, error)
}

// Step is one command in a root filesystem, with all it may see and use. Standard input is
// always empty. The root filesystem is read-only; /proc, /dev, /tmp and /run are the
// step's own and vanish with it.
type Step struct {
	Layers  []Layer  // the root filesystem, bottom first, as in an OCI config's rootfs.diff_ids
	Command []string // program and arguments; a bare program name is looked up in Env's PATH
	Env     []string // the whole environment, "NAME=value"; nothing is inherited; PWD is added when it is missing
	Dir     string   // working directory inside, absolute; "" means "/"
	Mounts  []Mount  // what is mounted on top of the root filesystem
	UID     uint32   // who runs the command, 0 to 65534; 0 is root in name only: it has no capabilities
	GID     uint32   // its group, 0 to 65534; there are no supplementary groups where the machine allows that
	Network bool     // false: only a loopback of its own; true: whatever the executor itself can reach
	Limits  Limits
}

// Layer is one layer of a root filesystem, as OCI's image-spec (layer.md) describes it.
type Layer struct {
	DiffID string                        // "sha256:" and 64 hex digits: the hash of the uncompressed tar
	Open   func() (io.ReadCloser, error) // the uncompressed tar; called only when the layer is not yet unpacked
}

// MountKind says what a Mount gives the step.
type MountKind int

// The kinds of mounts. The zero kind is ReadOnly.
const (
	ReadOnly  MountKind = iota // a folder or file of the executor's machine, which the step can only read
	ReadWrite                  // a folder of the executor's machine, handed over to the step's uid
	Tmpfs                      // an empty folder in memory, the step's own
	Data                       // a small read-only file with the given content: the way to pass a secret
)

// Mount is one thing mounted over the root filesystem. Mount points that the layers lack
// are made. Symbolic links in Target are followed inside the root filesystem.
//
// A ReadWrite folder and everything in it becomes the property of the step's uid and gid
// when the executor runs the step as another user than itself; links in it are not
// followed. Files of a ReadOnly mount keep their owners, so a step run by a privileged
// executor reads only what anybody may read.
type Mount struct {
	Kind    MountKind
	Source  string // absolute path outside, for ReadOnly and ReadWrite
	Target  string // absolute path inside; not "/"
	Size    int64  // bytes, for Tmpfs; 0 means the executor's default
	Content []byte // for Data; visible in the file alone, mode 0400, and never on a disk
}

// Limits bounds a step. A zero field is no limit of that sort.
type Limits struct {
	MilliCPU int64         // thousandths of a processor's time, as in Kubernetes' "500m"
	Memory   int64         // bytes, for all processes together, memory filesystems included
	Pids     int64         // processes and threads
	Wall     time.Duration // from the start of the command
}

// Means says how a limit was kept.
type Means string

// The means. A limit that was asked for and has None was not kept.
const (
	NotAsked Means = ""
	None     Means = "none"
	Cgroup   Means = "cgroup"  // for all the step's processes together
	Rlimit   Means = "rlimit"  // memory: for each process alone; pids: for all of the step's user
	Seccomp  Means = "seccomp" // pids: the kernel asks the executor before each fork
	Timer    Means = "timer"   // the executor's own clock
)

// Enforced says how each limit was kept.
type Enforced struct {
	CPU, Memory, Pids, Wall Means
}

// Reason says how a step ended.
type Reason string

// The reasons.
const (
	Exited      Reason = "Exited"      // by itself; ExitCode says how
	Signaled    Reason = "Signaled"    // by a signal
	TimedOut    Reason = "TimedOut"    // killed when Limits.Wall was over
	OutOfMemory Reason = "OutOfMemory" // the kernel killed a process of it at Limits.Memory, and it failed
)

// Result is how a step ended.
type Result struct {
	// ExitCode is the command's exit status; 128+n when signal n ended it, as shells
	// and Kubernetes have it. A command that itself exits with 128+n is therefore
	// reported as Signaled too.
	ExitCode int
	Signal   syscall.Signal // what ended it, or 0
	Reason   Reason
	Duration time.Duration // wall time of the command, without unpacking the layers
	Enforced Enforced
}

// OK says whether the step did what it was to do.
func (r Result) OK() bool { return r.Reason == Exited && r.ExitCode == 0 }
