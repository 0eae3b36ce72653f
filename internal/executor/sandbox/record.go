package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// record names what a running step has made outside its namespaces, one cgroup a line. It
// is locked while its process lives; one that can be locked is a dead process's.
type record struct {
	file *os.File
	keep bool // something noted could not be removed: the next sweep tries again
}

func (s *Sandbox) newRecord() (*record, error) {
	for {
		f, err := os.OpenFile(filepath.Join(s.stepsDir, rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(int(f.Fd()), &st)
		}
		if err == nil && st.Nlink > 0 {
			return &record{file: f}, nil
		}
		if f != nil {
			f.Close()
		}
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.New(fault.Failed, "note the step", s.stepsDir, err)
		}
		// A sweep took the new file for a dead process's before it was locked.
	}
}

// note writes a folder down before it is made.
func (r *record) note(dir string) error {
	_, err := fmt.Fprintln(r.file, dir)
	return err
}

func (r *record) close() {
	if !r.keep {
		os.Remove(r.file.Name())
	}
	r.file.Close()
}

// sweep removes what steps of killed processes left behind. The steps themselves died with
// their processes.
func (s *Sandbox) sweep() error {
	list, err := os.ReadDir(s.stepsDir)
	if err != nil {
		return fault.New(fault.Failed, "sweep", s.stepsDir, err)
	}
	for _, e := range list {
		f, err := os.OpenFile(filepath.Join(s.stepsDir, e.Name()), os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fault.New(fault.Failed, "sweep", e.Name(), err)
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			f.Close() // its step runs
			continue
		}
		raw, err := os.ReadFile(f.Name())
		for dir := range strings.FieldsSeq(string(raw)) {
			// The file is ours and private, yet a folder is removed by its name only.
			if strings.HasPrefix(filepath.Base(dir), cgroupPrefix) {
				err = errors.Join(err, removeCgroup(dir))
			}
		}
		if err == nil {
			os.Remove(f.Name()) // else the next sweep tries again; an empty cgroup harms no one
		}
		f.Close()
	}
	return nil
}

// removeCgroup removes an empty cgroup. The kernel calls it busy for a moment after the last
// process in it is gone.
func removeCgroup(dir string) error {
	deadline := time.Now().Add(2 * time.Second)
	for wait := time.Millisecond; ; wait *= 2 {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(wait)
	}
}
