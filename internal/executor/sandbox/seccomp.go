package sandbox

import (
	"bytes"
	"encoding/binary"
	"runtime"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (linux/seccomp.h) of the system call's number, the
// architecture and the low half of the first argument on a little-endian machine.
const (
	offNumber = 0
	offArch   = 4
	offArg0   = 16
)

// x32Bit marks the numbers of amd64's other ABI, which could name a call past the filter.
const x32Bit = 0x40000000

// forbidden are calls that no build step needs and that kernel bugs are found in: more
// namespaces and mounts, other processes' keys, kernel programs and modules, io_uring,
// which does its work past filters.
func forbidden() []uint32 {
	return []uint32{
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
		unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_FSCONFIG, unix.SYS_FSPICK,
		unix.SYS_MOUNT_SETATTR, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_BPF,
		unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE,
		unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
		unix.SYS_SYSLOG, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_SETTIMEOFDAY,
		unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	}
}

// seccompFilter gives the filter as bwrap --seccomp takes it, an array of struct sock_filter,
// or nil for an architecture it was not written for. Forbidden calls fail with EPERM, and
// clone3 with ENOSYS, since its flags lie in memory where no filter can see them: libraries
// then use clone.
func seccompFilter(goarch string) []byte {
	arch, ok := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[goarch]
	if !ok {
		return nil
	}
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		is   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		over = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		has  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
	)
	allow := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}
	fail := func(errno uint32) unix.SockFilter {
		return unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | errno}
	}
	// "Jump over one" after a test that fails leaves each refusal next to its reason.
	p := []unix.SockFilter{
		{Code: load, K: offArch}, {Code: is, Jt: 1, K: arch}, fail(uint32(unix.ENOSYS)),
		{Code: load, K: offNumber}, {Code: over, Jf: 1, K: x32Bit}, fail(uint32(unix.ENOSYS)),
		{Code: is, Jf: 1, K: unix.SYS_CLONE3}, fail(uint32(unix.ENOSYS)),
		{Code: is, Jf: 3, K: unix.SYS_CLONE},
		{Code: load, K: offArg0}, {Code: has, Jf: 1, K: namespaceFlags}, fail(uint32(unix.EPERM)),
		{Code: load, K: offNumber},
	}
	for _, number := range forbidden() {
		p = append(p, unix.SockFilter{Code: is, Jf: 1, K: number}, fail(uint32(unix.EPERM)))
	}
	var out bytes.Buffer
	// Writing fixed-size values to a buffer cannot fail.
	_ = binary.Write(&out, binary.NativeEndian, append(p, allow))
	return out.Bytes()
}

// namespaceFlags are clone's flags that make a namespace.
const namespaceFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// seccomp gives bwrap's options for the filter.
func seccomp(fds *files) ([]string, error) {
	filter := seccompFilter(runtime.GOARCH)
	if filter == nil {
		return nil, nil
	}
	fd, err := fds.memory(filter)
	return []string{"--seccomp", fd}, err
}
