package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

// mayShift says whether this process is root of a user namespace that holds all the ids
// from base on. Root of a container often is not, and then runs steps as a user does.
func mayShift(base uint32) bool {
	if os.Geteuid() != 0 {
		return false
	}
	for _, name := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		raw, err := os.ReadFile(name)
		if err != nil || !holds(string(raw), base) {
			return false
		}
	}
	return true
}

// holds says whether one line of an id map has the ids from base to base+MaxID.
func holds(idMap string, base uint32) bool {
	for line := range strings.Lines(idMap) {
		var first, outside, count uint64
		if _, err := fmt.Sscan(line, &first, &outside, &count); err != nil {
			return false
		}
		if first <= uint64(base) && uint64(base)+executor.MaxID < first+count {
			return true
		}
	}
	return false
}

// onOwnThread runs f on a thread that nothing else will ever run on.
func onOwnThread(f func() error) error {
	done := make(chan error)
	var run func()
	run = func() {
		// Never unlocked: the thread ends with this goroutine. The process's first thread
		// cannot end, and lends its face to /proc/self, so it is kept busy and passed over.
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			passed := make(chan struct{})
			go func() { defer close(passed); run() }()
			<-passed
			runtime.UnlockOSThread()
			return
		}
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			unix.Umask(0o022) // the thread's own now, and what the step starts with
			err = f()
		}
		done <- err
	}
	go run()
	return <-done
}

// stage shows bwrap what it is to mount, and gives where. An ordinary user's bwrap sees
// everything where it is. Root's is nobody and could not walk through root's folders, so
// they are bound into a folder that it can see, in a mount namespace of this thread alone.
func (r *run) stage() (map[string]string, error) {
	paths := map[string]string{"": r.root.Path()}
	for _, m := range r.plan.mounts {
		if m.Source != "" {
			paths[m.Source] = m.Source
		}
	}
	if !r.sandbox.shifted {
		return paths, nil
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fault.New(fault.Unavailable, "make a sandbox", "mount namespace", err).
			WithHint("root needs CAP_SYS_ADMIN here; an ordinary user does not: run as one")
	}
	// What is mounted here must not show outside, but an unmount outside must come through.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return nil, os.NewSyscallError("make mounts private", err)
	}
	return stageAt("/tmp", paths)
}

// stageAt hides dir, which bwrap itself needs to exist, behind the staged folders. All are
// opened before, as they may lie below dir.
func stageAt(dir string, paths map[string]string) (map[string]string, error) {
	fds := map[string]int{}
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for key, path := range paths {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		fds[key] = fd
	}
	if err := unix.Mount("plimsoll", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64k"); err != nil {
		return nil, &fs.PathError{Op: "mount", Path: dir, Err: err}
	}
	staged := map[string]string{}
	for key, fd := range fds {
		at := fmt.Sprintf("%s/%d", dir, fd)
		var st unix.Stat_t
		err := unix.Fstat(fd, &st)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			err = os.Mkdir(at, 0o755)
		} else if err == nil {
			err = os.WriteFile(at, nil, 0o644)
		}
		if err == nil {
			err = unix.Mount(fmt.Sprintf("/proc/thread-self/fd/%d", fd), at, "", unix.MS_BIND|unix.MS_REC, "")
		}
		if err != nil {
			return nil, &fs.PathError{Op: "bind", Path: paths[key], Err: err}
		}
		staged[key] = at
	}
	return staged, nil
}

// handOver makes the step's uid the owner of its writable folders. os.Root keeps every
// step of the walk below the folder, whatever another step changes in it meanwhile.
func handOver(step executor.Step, base uint32) error {
	for _, m := range step.Mounts {
		if m.Kind != executor.ReadWrite {
			continue
		}
		if err := chownAll(m.Source, int(base+step.UID), int(base+step.GID)); err != nil {
			return fault.New(fault.Failed, "hand over to the step", m.Source, err)
		}
	}
	return nil
}

func chownAll(dir string, uid, gid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == uid && int(st.Gid) == gid {
			return nil
		}
		return root.Lchown(name, uid, gid)
	})
}
