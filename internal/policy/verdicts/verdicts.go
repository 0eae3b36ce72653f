// Package verdicts takes what is known of images and the policies of a site and gives the verdict
// on each image: at once where it stands, decided again where anything it rests on has changed.
package verdicts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy"
)

// Image is one manifest in one repository.
type Image struct{ Repository, Digest string }

func (i Image) String() string { return i.Repository + "@" + i.Digest }

var (
	repositoryPattern = regexp.MustCompile(`^[!-~]{1,512}$`)
	digestPattern     = regexp.MustCompile(`^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$`)
)

func (i Image) check() error {
	if !repositoryPattern.MatchString(i.Repository) || !digestPattern.MatchString(i.Digest) {
		return fault.Newf(fault.Usage, "decide", fmt.Sprintf("%.600q", i.String()), "not a repository and a digest")
	}
	return nil
}

// Facts is where facts come from. It is asked by several at once.
type Facts interface {
	// Gather reads and verifies all there is of an image, which takes long, and keeps it: from
	// then on Known and All give the same. An image that does not exist is a fault.NotFound. It
	// is never asked twice at once for one image.
	Gather(ctx context.Context, image Image) (artifact.Facts, error)

	// Known gives what is kept of an image; ok is false when nothing is.
	Known(ctx context.Context, image Image) (facts artifact.Facts, ok bool, err error)

	// All gives what is kept of every image. The last pair may hold an error.
	All(ctx context.Context) iter.Seq2[artifact.Facts, error]
}

// Store keeps verdicts, the last one of each image.
type Store interface {
	All(ctx context.Context) iter.Seq2[artifact.Verdict, error] // the last pair may hold an error
	Save(ctx context.Context, verdicts []artifact.Verdict) error
}

// Change is a verdict that is another at some gate than what was told last.
type Change struct {
	Verdict artifact.Verdict
	Before  map[artifact.Gate]artifact.Action // as last told; nil when nothing was, or when that is not known
}

// Options are what Open may be told.
type Options struct {
	Where policy.Where // what the site knows of the place where images go

	// Publish tells others of a change. It may be slow; it is tried again until it succeeds, also
	// after a restart, so it may see a change twice. Changes of one image come one after another,
	// and only the newest of several that wait. Nil: nobody is told.
	Publish func(context.Context, Change) error

	// Announce is told once a day of each exception in use that ends within Notice. Nil: it is
	// only logged.
	Announce func(context.Context, Expiring)
	Notice   time.Duration // 0 is 14 days

	Gathers int              // images of which facts are gathered at once; 0 is 16
	Now     func() time.Time // the clock; nil is time.Now
	Log     *slog.Logger     // nil is nowhere
}

func (o Options) withDefaults() Options {
	if o.Notice == 0 {
		o.Notice = 14 * 24 * time.Hour
	}
	if o.Gathers == 0 {
		o.Gathers = 16
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Load gives the policies and exceptions as they are now.
type Load func(context.Context) (*policy.Set, error)

// Keeper keeps the verdicts of a site. It is safe for concurrent use.
type Keeper struct {
	load  Load
	facts Facts
	store Store
	opts  Options

	table   *table
	clock   *clock
	journal *journal
	queue   *queue
	lock    *os.File

	recomputing sync.Mutex // held by Recompute and Reload
	saving      sync.Mutex // held by save
	deciding    chan struct{}
	gathering   chan struct{}
	unsaved     chan struct{} // wakes the writer
	stale       chan struct{} // wakes whoever decides all again

	announced map[string]time.Time // when exceptions were, by name

	work context.Context // of all that goes on behind callers' backs, until Close
	stop context.CancelFunc
	wait sync.WaitGroup
}

// Open gives the keeper whose state is in the folder, which no other may use meanwhile. Policies
// that cannot be loaded are an error. Close it.
//
// It decides anew what is in the store, for nobody knows what has happened meanwhile. Until that
// is done each image is decided from the facts that are kept when somebody asks for it.
func Open(ctx context.Context, folder string, load Load, facts Facts, store Store, opts Options) (*Keeper, error) {
	opts = opts.withDefaults()
	set, err := load(ctx)
	if err != nil {
		return nil, err
	}
	lock, err := lockFolder(folder)
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		load: load, facts: facts, store: store, opts: opts,
		table: newTable(set), queue: newQueue(), lock: lock,
		deciding:  make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		gathering: make(chan struct{}, opts.Gathers),
		unsaved:   make(chan struct{}, 1),
		stale:     make(chan struct{}, 1),
		announced: map[string]time.Time{},
	}
	if err := k.restore(ctx, folder); err != nil {
		return nil, errors.Join(err, k.journal.close(), lock.Close())
	}
	k.work, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	for range opts.Gathers {
		k.wait.Go(k.settleLoop)
	}
	for range publishers {
		k.wait.Go(k.publishLoop)
	}
	k.wait.Go(k.saveLoop)
	k.wait.Go(k.sweepLoop)
	k.wakeSweeper()
	return k, nil
}

// Used says whether a keeper ever had its state in the folder: whether there once were policies.
func Used(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, lockName))
	return err == nil
}

// Free gives an error where another process keeps the verdicts in the folder. It writes nothing.
func Free(folder string) error {
	lock, err := os.Open(filepath.Join(folder, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Failed, openWhat, folder, err)
	}
	return errors.Join(take(lock, folder), lock.Close())
}

// lockName is the file whose lock a keeper holds; openWhat is what fails without it.
const (
	lockName = "lock"
	openWhat = "open the verdicts"
)

// lockFolder makes the folder its process's own. The kernel drops the lock with the process.
func lockFolder(folder string) (*os.File, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fault.New(fault.Failed, openWhat, folder, err)
	}
	lock, err := os.OpenFile(filepath.Join(folder, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fault.New(fault.Failed, openWhat, folder, err)
	}
	if err := take(lock, folder); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// take locks the file of the folder, until it is closed.
func take(lock *os.File, folder string) error {
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fault.Newf(fault.Failed, openWhat, folder, "another process keeps them").
			WithHint("stop the other server of this home, or give this one a home of its own")
	}
	return nil
}

// restore reads what a former keeper left.
func (k *Keeper) restore(ctx context.Context, folder string) (err error) {
	if k.clock, err = openClock(filepath.Join(folder, "time"), k.opts.Now, k.opts.Log); err != nil {
		return err
	}
	if k.journal, err = openJournal(filepath.Join(folder, "journal")); err != nil {
		return err
	}
	for verdict, err := range k.store.All(ctx) {
		if err != nil {
			return err
		}
		k.table.remember(verdict)
	}
	k.table.invalidate(k.journal.remaining(opChanged), true, true)
	k.table.forgetTold(k.journal.remaining(opUntold))
	return nil
}

// Close ends what goes on and saves what is decided. Nothing else may be called afterwards.
func (k *Keeper) Close() error {
	k.table.mu.Lock() // so that no flight begins that nobody waits for
	k.stop()
	k.table.mu.Unlock()
	k.wait.Wait()
	err := k.save(context.WithoutCancel(k.work))
	return errors.Join(err, k.clock.keep(true), k.journal.close(), k.lock.Close())
}

// Verdict gives the verdict on an image that exists. Where it stands this is a look into a table;
// else it is decided, which waits for facts as long as ctx allows: that it is still being
// examined is a fault.Unavailable. An image of which nothing can be known is denied.
//
// The caller must not change what it is given.
func (k *Keeper) Verdict(ctx context.Context, image Image) (artifact.Verdict, error) {
	if verdict, ok := k.Standing(image); ok {
		return verdict, nil
	}
	if err := image.check(); err != nil {
		return artifact.Verdict{}, err
	}
	return k.settle(ctx, image)
}

// Standing gives the verdict on an image if it stands: no more than a look into a table.
func (k *Keeper) Standing(image Image) (artifact.Verdict, bool) {
	verdict, refresh := k.table.standing(image, k.clock.now())
	if refresh {
		k.refresh(image)
	}
	if verdict == nil {
		return artifact.Verdict{}, false
	}
	return *verdict, true
}

// Changed says that evidence, tags or anything else of these images in the repository is not what
// it was, or that they are new: what was decided on them counts no more when it returns, even if
// the process ends then, and their facts are gathered anew. An error says that some of them are no
// images, or that only this process knows of the change.
func (k *Keeper) Changed(repository string, digests ...string) error {
	var images []Image
	var wrong []error
	for _, digest := range digests {
		image := Image{repository, digest}
		if err := image.check(); err != nil {
			wrong = append(wrong, err)
			continue
		}
		images = append(images, image)
	}
	err := k.journal.add(opChanged, images, true)
	k.table.invalidate(images, true, true) // though no later process may know of it
	return errors.Join(append(wrong, err)...)
}

// FindingsChanged says that the facts kept of these images are not what they were when they were
// decided: advisories came or went. They are decided again from the facts that are kept.
func (k *Keeper) FindingsChanged(images ...Image) {
	images = slices.DeleteFunc(slices.Clone(images), func(image Image) bool { return image.check() != nil })
	k.table.invalidate(images, false, len(images) < many)
	if len(images) >= many {
		k.wakeSweeper()
	}
}
