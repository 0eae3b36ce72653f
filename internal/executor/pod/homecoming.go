package pod

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"

	"plimsoll.dev/plimsoll/internal/executor/pod/tree"
	"plimsoll.dev/plimsoll/internal/fault"
)

// homecoming takes back what changed in a step's folders, one after the other.
type homecoming struct {
	run     *run
	over    chan struct{} // closed when nothing comes any more
	at      int           // of plan.returned
	removed []string
	in      *io.PipeWriter // of the folder that comes; nil before its first piece
	staged  chan stagedFolder
	folders []*tree.Staged
	roots   []*os.Root
}

type stagedFolder struct {
	folder *tree.Staged
	err    error
}

func newHomecoming(r *run) *homecoming {
	return &homecoming{run: r, over: make(chan struct{}), staged: make(chan stagedFolder, 1)}
}

func (h *homecoming) remove(name string) error {
	if h.removed = append(h.removed, name); len(h.removed) > h.run.executor.opt.ReturnedFiles+1 {
		return errors.New("the agent removes more than there is")
	}
	return nil
}

// open begins to take a folder.
func (h *homecoming) open(ctx context.Context) error {
	if h.in != nil {
		return nil
	}
	if h.at >= len(h.run.plan.returned) {
		return errors.New("the agent sends a folder that was not asked for")
	}
	root, err := os.OpenRoot(h.run.plan.returned[h.at].Source)
	if err != nil {
		return err
	}
	h.roots = append(h.roots, root)
	r, w := io.Pipe()
	h.in = w
	opt, removed := h.run.executor.opt, h.removed
	go func() {
		folder, err := tree.Stage(ctx, root, removed, r, tree.Bounds{Files: opt.ReturnedFiles, Bytes: opt.DiskBytes})
		if err == nil {
			_, err = io.Copy(io.Discard, r) // what follows a tar's end
		}
		r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		h.staged <- stagedFolder{folder, err}
	}()
	return nil
}

func (h *homecoming) write(ctx context.Context, piece []byte) error {
	if err := h.open(ctx); err != nil {
		return err
	}
	_, err := h.in.Write(piece)
	return err
}

// next ends a folder, and says whether it was the last.
func (h *homecoming) next(ctx context.Context) (bool, error) {
	if err := h.open(ctx); err != nil {
		return false, err
	}
	if err := h.finish(nil); err != nil {
		return false, err
	}
	h.at, h.removed = h.at+1, nil
	return h.at == len(h.run.plan.returned), nil
}

// finish waits for the folder that comes.
func (h *homecoming) finish(why error) error {
	h.in.CloseWithError(why)
	h.in = nil
	got := <-h.staged
	if got.folder != nil {
		h.folders = append(h.folders, got.folder)
	}
	return got.err
}

// end says that nothing comes any more.
func (h *homecoming) end() { close(h.over) }

// close puts all folders where they belong, or, after an error, leaves them as they were.
func (h *homecoming) close(err error) error {
	if h.in != nil {
		_ = h.finish(cmp.Or(err, io.ErrUnexpectedEOF))
	}
	for _, f := range h.folders {
		if err != nil {
			f.Discard()
			continue
		}
		if failed := f.Commit(); failed != nil {
			err = fault.New(fault.Failed, "take back what the step made", h.run.step.Command[0], failed)
		}
	}
	for _, root := range h.roots {
		root.Close()
	}
	return err
}
