package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/ignore"
)

// readLocal looks at what a path is and reads it: a directory, or an archive's file.
func (j *job) readLocal(ctx context.Context, s *artifact.Source) error {
	real, err := filepath.EvalSymlinks(j.at)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Newf(fault.NotFound, "read source", j.shown, "there is no such file or directory").
			WithHint("a source elsewhere is named by its URL: https://…, ssh://…, git@host:path or oci://…")
	}
	if err != nil {
		return fault.New(fault.Failed, "read source", j.shown, err)
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return fault.New(fault.Failed, "read source", j.shown, err)
	case info.IsDir() && j.options.Checksum != "":
		return j.usage("a directory has no checksum", "")
	case info.IsDir():
		s.Kind, s.Location = artifact.DirectorySource, real
		return j.readDirectory(ctx, real, s)
	case info.Mode().IsRegular():
		s.Kind, s.Location = artifact.ArchiveSource, real
		return j.readArchiveFile(ctx, real, s)
	}
	return j.usage("it is neither a directory nor a file", "")
}

// readDirectory copies a directory, without what its ignore files leave out, and notes what
// git knows of it.
func (j *job) readDirectory(ctx context.Context, dir string, s *artifact.Source) error {
	if j.options.Subpath != "" {
		below := filepath.Join(dir, filepath.FromSlash(j.options.Subpath))
		real, err := filepath.EvalSymlinks(below)
		if info, statErr := os.Stat(below); err != nil || statErr != nil || !info.IsDir() || real != below {
			return fault.Newf(fault.NotFound, "read source", j.shown, fmt.Sprintf("it has no folder %q", j.options.Subpath))
		}
		dir = below
	}
	known := j.workTree(ctx, dir)
	src, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer src.Close()
	own, err := readIgnore(src, ownIgnore)
	if err != nil {
		return j.tree.refuse(ownIgnore, err.Error())
	}
	w := &walk{job: j, ctx: ctx, src: src, chooser: j.options.chooser(own), known: known, clean: true}
	if staging, err := filepath.EvalSymlinks(j.staging); err == nil {
		w.skip, _ = filepath.Rel(dir, staging)
	}
	top := known.rule
	for _, folder := range known.above() {
		if top, err = w.rulesIn(known.top, folder, top); err != nil {
			return err
		}
	}
	if err := w.folder(".", src, top, false); err != nil {
		return err
	}
	if err := w.copy(); err != nil {
		return err
	}
	known.describe(s, w.clean)
	return nil
}

// walk finds the files of a directory that are taken.
type walk struct {
	*job
	ctx     context.Context
	src     *os.Root
	chooser chooser
	known   workTree
	skip    string // the staging folder, when it is inside
	found   []found
	total   int
	clean   bool // git tracks every file that was taken
}

// found is files of one folder.
type found struct {
	folder string
	names  []string
}

// rules are the ignore files that hold in a folder, the nearest first.
type rules struct {
	folder string // where the file is, relative to the top; "." is the top
	list   ignore.List
	above  *rules
}

// verdict holds a path, relative to the top, against the rules.
func (r *rules) verdict(at string, folder bool) ignore.Verdict {
	for ; r != nil; r = r.above {
		inside := at
		if r.folder != "." {
			inside = at[len(r.folder)+1:]
		}
		if v := r.list.Match(inside, folder); v != ignore.Silent {
			return v
		}
	}
	return ignore.Silent
}

const gitIgnore = ".gitignore"

// folder walks a folder of the source. When it is ignored, only what git tracks in spite
// of that is taken.
func (w *walk) folder(at string, root *os.Root, above *rules, ignored bool) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	if err != nil {
		return err
	}
	own, err := w.rulesOf(root, w.known.path(at), above)
	if err != nil {
		return err
	}
	var names []string
	for _, item := range list {
		name := item.Name()
		where := path.Join(at, name)
		if name == ".git" || where == w.skip {
			continue
		}
		taken, inIgnored := w.takes(where, item.IsDir(), own, ignored)
		if !taken {
			continue
		}
		if item.IsDir() {
			if err := w.below(where, name, root, own, inIgnored); err != nil {
				return err
			}
			continue
		}
		if err := w.item(where, item); err != nil {
			return err
		}
		if item.Type().IsRegular() {
			names = append(names, name)
		}
	}
	const batch = 256 // so that one large folder is shared by the workers
	for len(names) > 0 {
		n := min(batch, len(names))
		w.found = append(w.found, found{at, names[:n]})
		w.total, names = w.total+n, names[n:]
	}
	return nil
}

func (w *walk) below(where, name string, root *os.Root, own *rules, ignored bool) error {
	if err := w.tree.folder(where); err != nil {
		return err
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return w.folder(where, sub, own, ignored)
}

// takes tells whether a path is taken, and whether it is so in spite of git's rules.
func (w *walk) takes(at string, folder bool, own *rules, ignored bool) (taken, inSpite bool) {
	if !folder && !w.chooser.includes(at) {
		return false, false
	}
	switch w.chooser.verdict(at, folder) {
	case ignore.Ignored:
		return false, false
	case ignore.Kept:
		return true, false
	}
	if ignored = ignored || own.verdict(w.known.path(at), folder) == ignore.Ignored; !ignored {
		return true, false
	}
	if folder {
		return w.known.folders[at], true
	}
	return w.known.files[at], true
}

// item takes note of what is no folder; the content of files is read later.
func (w *walk) item(at string, item fs.DirEntry) error {
	w.clean = w.clean && w.known.files[at]
	switch item.Type() {
	case 0:
		return nil
	case fs.ModeSymlink:
		target, err := w.src.Readlink(at)
		if err != nil {
			return err
		}
		return w.tree.link(at, target)
	}
	return w.tree.refuse(at, "it is "+special(item.Type())+", not a file").
		WithHint("leave it out by a line in .plimsollignore")
}

// special names what is no part of a source.
func special(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "something special"
}

// rulesOf gives the rules that hold in a folder of the walk.
func (w *walk) rulesOf(root *os.Root, at string, above *rules) (*rules, error) {
	text, err := readIgnore(root, gitIgnore)
	if err != nil {
		return nil, w.tree.refuse(path.Join(at, gitIgnore), err.Error())
	}
	if list := ignore.Parse(text); !list.Empty() {
		return &rules{at, list, above}, nil
	}
	return above, nil
}

// rulesIn is rulesOf for a folder above the walk.
func (w *walk) rulesIn(top, at string, above *rules) (*rules, error) {
	root, err := os.OpenRoot(filepath.Join(top, at))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return w.rulesOf(root, at, above)
}

// readIgnore gives the text of an ignore file, "" when there is none. As for git, a link is
// none.
func readIgnore(root *os.Root, name string) (string, error) {
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", nil
	case info.Size() > maxIgnores:
		return "", fmt.Errorf("it is larger than %d bytes", maxIgnores)
	}
	text, err := root.ReadFile(name)
	return string(text), err
}

// copy copies what was found.
func (w *walk) copy() error {
	const name = "copy files"
	w.stage(name, 0, w.total)
	var done atomic.Int64
	var made sync.Map
	group, ctx := errgroup.WithContext(w.ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	for _, f := range w.found {
		group.Go(func() error {
			if err := w.copyFolder(ctx, f, &made); err != nil {
				return err
			}
			w.stage(name, int(done.Add(int64(len(f.names)))), w.total)
			return nil
		})
	}
	return group.Wait()
}

func (w *walk) copyFolder(ctx context.Context, f found, made *sync.Map) error {
	if _, ok := made.Load(f.folder); !ok {
		if err := w.tree.root.MkdirAll(f.folder, 0o755); err != nil {
			return err
		}
		made.Store(f.folder, true)
	}
	from, err := w.src.OpenRoot(f.folder)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := w.tree.root.OpenRoot(f.folder)
	if err != nil {
		return err
	}
	defer to.Close()
	for _, name := range f.names {
		if err := w.copyFile(ctx, from, to, name, path.Join(f.folder, name)); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) copyFile(ctx context.Context, from, to *os.Root, name, where string) error {
	// Should it have become a pipe since it was listed, to open it must not wait.
	in, err := from.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return w.tree.refuse(where, "it changed while it was read")
	}
	e := &entry{kind: plain}
	if info.Mode()&0o100 != 0 {
		e.kind = program
	}
	at, err := w.tree.enter(where, e)
	if err != nil {
		return err
	}
	return w.tree.write(ctx, to, name, at, e, in)
}
