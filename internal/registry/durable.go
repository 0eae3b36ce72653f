package registry

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/together"
)

// gather is how long those wait for each other who write at the same time. The disk is much faster, and
// would be asked for as many commits of the file system's journal.
const gather = 2 * time.Millisecond

// durable puts what was written onto the disk. Who writes alone waits for his own files; those who come
// before he is done wait for one call together, which puts all there is onto the disk: a fleet's thousands
// of small files cost a few calls an image.
type durable struct {
	open func() (*os.File, error) // gives one folder of the file system, open since the first call

	writing  atomic.Int64 // those that wait, for either
	together *together.Batch[*error]
}

// newDurable gives one for the folder, which need not be there before something is written to it.
func newDurable(root string) *durable {
	d := &durable{open: sync.OnceValues(func() (*os.File, error) { return os.Open(root) })}
	d.together = together.New(gather, func(waiting []*error) {
		err := d.syncAll()
		for _, one := range waiting {
			*one = err
		}
	})
	return d
}

// sync waits until what was written to the open files and folders is on the disk.
func (d *durable) sync(fds ...int) (err error) {
	defer d.writing.Add(-1)
	if d.writing.Add(1) == 1 {
		return fsyncAll(fds)
	}
	d.together.Do(&err)
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
