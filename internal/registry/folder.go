package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
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
// the name is on the disk at the end.
func (f folder) PutContent(_ context.Context, file string, content []byte) (err error) {
	to := f.local(file)
	temp, err := createAside(to)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name()) // the failure itself tells more
		}
	}()
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Sync()
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// createAside makes a file in the same folder, and that when it is missing. Its name
// ends as those do which listings leave out.
func createAside(file string) (*os.File, error) {
	aside := file + "." + rand.Text() + ".tmp"
	open := func() (*os.File, error) { return os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) }
	made, err := open()
	if !errors.Is(err, os.ErrNotExist) {
		return made, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return nil, err
	}
	return open()
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (f folder) local(file string) string { return f.root + filepath.FromSlash(file) }
