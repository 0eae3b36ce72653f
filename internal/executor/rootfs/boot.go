package rootfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// A rename makes a folder appear whole to every process, but after a power cut its files
// may be empty. To sync before every rename would cost seconds on a busy disk. Instead each
// folder names the boot that it was made in; made in an earlier boot, it is made again.
// Settling syncs once and takes the names off.
const bootFile = "boot"

// bootID gives random(4)'s name of the current boot.
func bootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(raw)), err
}

// whole says whether a layer or root is there and cannot have suffered from a power cut.
func (s *Store) whole(dir string) bool {
	raw, err := os.ReadFile(filepath.Join(dir, bootFile))
	if errors.Is(err, os.ErrNotExist) {
		_, err = os.Stat(dir)
		return err == nil
	}
	return err == nil && string(raw) == s.boot
}

// usable is whole for one who holds the exclusive lock: what is there but not whole goes.
func (s *Store) usable(dir string) (bool, error) {
	if s.whole(dir) {
		return true, nil
	}
	if err := s.discard(context.Background(), dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fault.New(fault.Failed, "discard after a power cut", dir, err)
	}
	return false, nil
}

// settle brings all that was made in this boot to disk and marks it as lasting.
func (s *Store) settle() error {
	marks, err := filepath.Glob(filepath.Join(s.dir, "*", "*", bootFile))
	if err != nil || len(marks) == 0 {
		return err
	}
	var made []string
	for _, m := range marks {
		if raw, err := os.ReadFile(m); err == nil && string(raw) == s.boot && !strings.HasPrefix(m, filepath.Join(s.dir, "tmp")) {
			made = append(made, m)
		}
	}
	f, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return os.NewSyscallError("syncfs", err)
	}
	for _, m := range made {
		if err := os.Remove(m); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
