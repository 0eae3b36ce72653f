package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A pod has no limit of its own on processes, and RLIMIT_NPROC counts those of a user on the
// whole node. So the kernel asks the agent before each fork (seccomp_unotify(2)).

// Offsets in struct seccomp_data (linux/seccomp.h).
const (
	offNumber = 0
	offArch   = 4
	x32Bit    = 0x40000000 // of amd64's other ABI
)

// waitKillable keeps signals from interrupting a fork that waits for its answer; since Linux 5.19.
const waitKillable = 1 << 5

// bound puts this thread under the filter and gives the agent its listener.
func bound(agent *os.File) error {
	listener, err := filter()
	said, rights := byte(bounded), []byte(nil)
	if err != nil {
		said = unbounded
	} else {
		rights = unix.UnixRights(listener)
		defer unix.Close(listener)
	}
	if err := unix.Sendmsg(int(agent.Fd()), []byte{said}, rights, nil, 0); err != nil {
		return err
	}
	_, err = agent.Read(make([]byte, 1))
	return err
}

// filter has the listener that it gives asked before each fork.
func filter() (int, error) {
	arch, forks := forksOf(runtime.GOARCH)
	if arch == 0 {
		return -1, fmt.Errorf("no filter was written for %s", runtime.GOARCH)
	}
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		is   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		over = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
	)
	// Other ABIs have other numbers for the same calls.
	refuse := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
	p := []unix.SockFilter{
		{Code: load, K: offArch}, {Code: is, Jt: 1, K: arch}, refuse,
		{Code: load, K: offNumber}, {Code: over, Jf: 1, K: x32Bit}, refuse,
	}
	for _, call := range forks {
		p = append(p, unix.SockFilter{Code: is, Jf: 1, K: call}, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	p = append(p, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | waitKillable, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER} {
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
		if errno == 0 {
			return int(fd), nil
		}
		if !errors.Is(errno, unix.EINVAL) {
			return -1, errno
		}
	}
	return -1, unix.EINVAL
}

// notice is struct seccomp_notif, answer struct seccomp_notif_resp (linux/seccomp.h).
type notice struct {
	id         uint64
	pid, flags uint32
	number     int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type answer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// tasks counts the step's processes and threads.
type tasks struct {
	listener int
	limit    int

	most   int         // how many there are at most
	recent []time.Time // forks that were allowed and may not have happened yet
}

// settled is how long after its leave a fork has certainly happened.
const settled = 10 * time.Millisecond

// guard answers until no process is left under the filter.
func (t *tasks) guard() {
	defer unix.Close(t.listener)
	t.most = 1
	for {
		ready := []unix.PollFd{{Fd: int32(t.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if ready[0].Revents&unix.POLLIN == 0 {
			if ready[0].Revents != 0 {
				return // it has hung up
			}
			continue
		}
		var n notice
		if !t.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)) {
			continue // who asked was killed
		}
		a := answer{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if !t.room() {
			a.flags, a.errno = 0, -int32(unix.EAGAIN)
		}
		t.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a))
	}
}

func (t *tasks) ioctl(request uintptr, data unsafe.Pointer) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(t.listener), request, uintptr(data))
	return errno == 0
}

// room says whether there may be one more. It counts only when those that were ever let in
// since it last did come to the limit.
func (t *tasks) room() bool {
	if t.most >= t.limit {
		if len(t.recent) > 0 {
			time.Sleep(settled - min(settled, time.Since(t.recent[len(t.recent)-1])))
		}
		t.recent, t.most = nil, count()
	}
	if t.most >= t.limit {
		return false
	}
	t.most++
	t.recent = append(t.recent[max(0, len(t.recent)-1):], time.Now())
	return true
}

// count gives the number of processes and threads besides this one's.
func count() int {
	n := 0
	list, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	for _, path := range list {
		if filepath.Dir(filepath.Dir(path)) != "/proc/1" {
			n++
		}
	}
	return n
}
