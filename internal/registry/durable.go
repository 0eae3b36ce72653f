package registry

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/together"
)

// alone is how many writers wait for their own files at a time; each more would be one more commit of
// the file system's journal.
const alone = 2

// durable puts what was written onto the disk. While few write, each waits for its own file; those who
// come then wait for one call together, which puts all there is onto the disk: a fleet's thousands of
// small files cost a few calls an image.
type durable struct {
	open func() (*os.File, error) // gives one folder of the file system, open since the first call

	mu      sync.Mutex
	writing int // alone
	rest    *together.Batch[*error]
}

// newDurable gives one for the folder, which need not be there before something is written to it.
func newDurable(root string) *durable {
	d := &durable{open: sync.OnceValues(func() (*os.File, error) { return os.Open(root) })}
	d.rest = together.New(func(waiting []*error) {
		err := d.syncAll()
		for _, one := range waiting {
			*one = err
		}
	})
	return d
}

// sync waits until what was written to the open files and folders is on the disk.
func (d *durable) sync(fds ...int) (err error) {
	d.mu.Lock()
	few := d.writing < alone
	if few {
		d.writing++
	}
	d.mu.Unlock()
	if !few {
		d.rest.Do(&err)
		return err
	}
	err = fsyncAll(fds)
	d.mu.Lock()
	d.writing--
	d.mu.Unlock()
	return err
}

func fsyncAll(fds []int) error {
	for _, fd := range fds {
		if err := fsync(fd); err != nil {
			return err
		}
	}
	return nil
}

// syncAll fails when anything written to the file system since the last call did not reach the disk,
// whoever wrote it: what is open tells of each failure once (syncfs(2), since Linux 5.8).
func (d *durable) syncAll() error {
	root, err := d.open()
	if err != nil {
		return err
	}
	_, err = again(func() (int, error) { return 0, unix.Syncfs(int(root.Fd())) })
	return err
}
