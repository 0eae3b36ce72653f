package registry

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"golang.org/x/sys/unix"
)

// folder is the driver of a local folder, short of what it does besides reading and
// writing: that each path is checked, timed and traced costs more than a small file.
// The paths here are made of names that were checked.
type folder struct {
	storagedriver.StorageDriver
	root string
}

// GetContent implements storagedriver.StorageDriver.
func (f folder) GetContent(_ context.Context, file string) ([]byte, error) {
	return os.ReadFile(f.local(file))
}

// Stat implements storagedriver.StorageDriver.
func (f folder) Stat(_ context.Context, file string) (storagedriver.FileInfo, error) {
	info, err := os.Stat(f.local(file))
	if err != nil {
		return nil, err
	}
	return storagedriver.FileInfoInternal{FileInfoFields: storagedriver.FileInfoFields{
		Path: file, Size: info.Size(), ModTime: info.ModTime(), IsDir: info.IsDir(),
	}}, nil
}

// PutContent implements storagedriver.StorageDriver. Whoever looks sees the old content
// or the new, whole, and after a crash too: it is on the disk before it has its name, and
// the name is on the disk at the end. A push writes some fifty small files, so each is made
// in few steps from its opened folder.
func (f folder) PutContent(_ context.Context, file string, content []byte) error {
	to := f.local(file)
	err := write(to, content)
	if err == unix.ENOENT { // a removal took the folder after it was opened
		err = write(to, content)
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: to, Err: err}
	}
	return nil
}

func write(file string, content []byte) error {
	dir, err := openDir(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	name := filepath.Base(file)
	aside := name + "." + rand.Text() + ".tmp" // as those end which listings leave out
	if err = writeNew(dir, aside, content); err == nil {
		err = unix.Renameat(dir, aside, dir, name)
	}
	if err != nil {
		_ = unix.Unlinkat(dir, aside, 0) // the failure itself tells more
		return err
	}
	return fsync(dir)
}

// openDir opens a folder, and makes it when it is missing.
func openDir(dir string) (int, error) {
	open := func() (int, error) { return openAt(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY) }
	fd, err := open()
	if err != unix.ENOENT {
		return fd, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return -1, err
	}
	return open()
}

// writeNew writes a file that is not there yet, onto the disk.
func writeNew(dir int, name string, content []byte) error {
	fd, err := openAt(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	for len(content) > 0 && err == nil {
		var n int
		n, err = again(func() (int, error) { return unix.Write(fd, content) })
		content = content[max(n, 0):]
	}
	if err == nil {
		err = fsync(fd)
	}
	if closed := unix.Close(fd); err == nil {
		err = closed
	}
	return err
}

func openAt(dir int, name string, flags int) (int, error) {
	return again(func() (int, error) { return unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0o666) })
}

func fsync(fd int) error {
	_, err := again(func() (int, error) { return 0, unix.Fsync(fd) })
	return err
}

// again calls until no signal interrupts.
func again(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

func (f folder) local(file string) string { return f.root + filepath.FromSlash(file) }
