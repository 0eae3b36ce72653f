package registry

import (
	"context"
	"crypto/rand"
	"os"
	"path"
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
	disk *durable
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

// PutContent implements storagedriver.StorageDriver.
func (f folder) PutContent(_ context.Context, file string, content []byte) error {
	return f.put(small{file, content})
}

// small is a file that is written at once.
type small struct {
	path    string
	content []byte
}

// put writes files, which get their names in that order. Whoever looks at one sees the old content or the
// new, whole, and after a crash too: it is on the disk before it has its name, and the names are on the
// disk at the end. A push writes some fifty small files, so each is made in few steps from its opened
// folder.
func (f folder) put(files ...small) error {
	which, err := f.write(files)
	if err == unix.ENOENT { // a removal took the folder after it was opened
		which, err = f.write(files)
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: f.local(which), Err: err}
	}
	return nil
}

// aside is a file that has no name of its own yet.
type aside struct {
	small
	name    string
	dir, fd int
}

// write gives the file that it failed with.
func (f folder) write(files []small) (which string, err error) {
	var made []aside
	var fds, dirs []int
	named := 0
	defer func() {
		for i, a := range made {
			if i >= named {
				_ = unix.Unlinkat(a.dir, a.name, 0) // the failure itself tells more
			}
			_ = unix.Close(a.fd) // what it holds is on the disk
			_ = unix.Close(a.dir)
		}
	}()
	for _, file := range files {
		a, err := f.begin(file)
		if err != nil {
			return file.path, err
		}
		made, fds, dirs = append(made, a), append(fds, a.fd), append(dirs, a.dir)
		if err := writeAll(a.fd, file.content); err != nil {
			return file.path, err
		}
	}
	if err := f.disk.sync(fds...); err != nil {
		return files[0].path, err
	}
	for _, a := range made {
		if err := unix.Renameat(a.dir, a.name, a.dir, path.Base(a.path)); err != nil {
			return a.path, err
		}
		named++
	}
	return files[0].path, f.disk.sync(dirs...)
}

// begin opens a new file beside the one that is to be written.
func (f folder) begin(file small) (a aside, err error) {
	a = aside{small: file, name: path.Base(file.path) + "." + rand.Text() + ".tmp"} // as those end which listings leave out
	if a.dir, err = openDir(filepath.Dir(f.local(file.path))); err != nil {
		return a, err
	}
	if a.fd, err = openAt(a.dir, a.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL); err != nil {
		_ = unix.Close(a.dir) // the failure itself tells more
	}
	return a, err
}

// openDir opens a folder, and makes it when it is missing, as that of content mostly is.
func openDir(dir string) (int, error) {
	_, err := again(func() (int, error) { return 0, unix.Mkdir(dir, 0o777) })
	if err == unix.ENOENT {
		err = os.MkdirAll(dir, 0o777)
	}
	if err != nil && err != unix.EEXIST {
		return -1, err
	}
	return openAt(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY)
}

func writeAll(fd int, content []byte) error {
	for len(content) > 0 {
		n, err := again(func() (int, error) { return unix.Write(fd, content) })
		if err != nil {
			return err
		}
		content = content[n:]
	}
	return nil
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
