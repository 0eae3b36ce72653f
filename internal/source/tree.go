package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"plimsoll.dev/plimsoll/internal/fault"
)

// stamp is the time of every file of a source: what the buildpacks' specification gives the
// files of an image, so that the clock has no part in a build.
var stamp = time.Unix(315532801, 0)

// tree takes files and links from a source that is not trusted and writes the files into a
// folder. Links wait in memory until all is there: no write ever runs through one.
type tree struct {
	dir    string // on disk
	shown  string // the location, for messages
	root   *os.Root
	limits Limits

	mu      sync.Mutex
	entries map[string]*entry // by clean path
	folders map[string]bool   // every folder of an entry
	names   int               // bytes of paths and targets

	bytes   atomic.Int64
	buffers sync.Pool
}

// entry is a file or a symbolic link. Folders are where entries are: as for git, there are
// no empty ones.
type entry struct {
	kind   kind
	sum    [sha256.Size]byte // of the content, or of the link's target
	target string
}

type kind byte

const (
	plain   kind = 'f'
	program kind = 'x' // a file that its owner may execute
	link    kind = 'l'
)

func newTree(dir, shown string, limits Limits) (*tree, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &tree{dir: dir, shown: shown, root: root, limits: limits.settled(), entries: map[string]*entry{}, folders: map[string]bool{".": true}}
	t.buffers.New = func() any { return new([128 << 10]byte) }
	return t, nil
}

func (t *tree) close() { t.root.Close() }

// file writes a file under the name that the source gives it.
func (t *tree) file(ctx context.Context, name string, isProgram bool, r io.Reader) error {
	e := &entry{kind: plain}
	if isProgram {
		e.kind = program
	}
	at, err := t.enter(name, e)
	if err != nil || at == "" {
		return err
	}
	if err := t.root.MkdirAll(path.Dir(at), 0o755); err != nil {
		return err
	}
	return t.write(ctx, t.root, at, at, e, r)
}

// link notes a symbolic link.
func (t *tree) link(name, target string) error {
	switch {
	case len(target) > t.limits.Path:
		return t.refuse(name, "its target is too long")
	case target == "" || hasControl(target) || !utf8.ValidString(target):
		return t.refuse(name, "its target is no name that can be used")
	}
	_, err := t.enter(name, &entry{kind: link, target: target, sum: sha256.Sum256([]byte(target))})
	return err
}

// folder notes a folder: nothing else may have its name.
func (t *tree) folder(name string) error {
	at, err := t.clean(name)
	if err != nil || at == "" {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open(at)
}

// enter takes a name into the tree's list and gives its clean path; "" for what no source
// has: git's own folder.
func (t *tree) enter(name string, e *entry) (string, error) {
	at, err := t.clean(name)
	if err != nil || at == "" {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.entries[at] != nil:
		return "", t.refuse(name, "it is there twice")
	case t.folders[at]:
		return "", t.refuse(name, "it is there as a folder, too")
	case len(t.entries) == t.limits.Entries:
		return "", t.refuse(name, fmt.Sprintf("it is one more than the %d files allowed", t.limits.Entries))
	}
	if err := t.open(path.Dir(at)); err != nil {
		return "", err
	}
	if t.names += len(at) + len(e.target); t.names > maxNames {
		return "", t.refuse(name, "all names together are too long")
	}
	t.entries[at] = e
	return at, nil
}

// open takes a folder and those above it into the list.
func (t *tree) open(at string) error {
	for ; !t.folders[at]; at = path.Dir(at) {
		if e := t.entries[at]; e != nil {
			return t.refuse(at, "what is a folder here is a file or a link there")
		}
		if t.names += len(at); t.names > maxNames {
			return t.refuse(at, "all names together are too long")
		}
		t.folders[at] = true
	}
	return nil
}

// clean gives the path of a name below the top of the tree; "" for the top itself and for
// what lies in a folder ".git".
func (t *tree) clean(name string) (string, error) {
	switch {
	case hasControl(name):
		return "", t.refuse(name, "its name holds a control character")
	case !utf8.ValidString(name):
		return "", t.refuse(name, "its name is not UTF-8")
	case strings.HasPrefix(name, "/"):
		return "", t.refuse(name, "its name is absolute")
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return "", t.refuse(name, `its name leads up by ".."`)
		case len(part) > 255:
			return "", t.refuse(part, "its name is longer than 255 bytes")
		case part == ".git":
			return "", nil
		case isGitAlias(part):
			return "", t.refuse(name, "other systems take its name for .git")
		case part != "" && part != ".":
			depth++
		}
	}
	switch at := path.Clean(name); {
	case at == ".":
		return "", nil
	case len(at) > t.limits.Path:
		return "", t.refuse(at, fmt.Sprintf("its path is longer than %d bytes", t.limits.Path))
	case depth > t.limits.Depth:
		return "", t.refuse(at, fmt.Sprintf("it lies deeper than %d folders", t.limits.Depth))
	default:
		return at, nil
	}
}

// isGitAlias tells a name that is .git on a system that ignores case, trailing dots, or
// characters that are not seen; git refuses the same in its trees.
func isGitAlias(name string) bool {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return r
	}, name)
	name, _, _ = strings.Cut(strings.ToLower(name), ":")
	name = strings.TrimRight(name, ". ")
	return name == ".git" || name == "git~1"
}

// write makes the file at of the folder; where is its path in the tree.
func (t *tree) write(ctx context.Context, folder *os.Root, at, where string, e *entry, r io.Reader) error {
	mode := os.FileMode(0o644)
	if e.kind == program {
		mode = 0o755
	}
	f, err := folder.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(mode); err != nil { // whatever the umask is
		return err
	}
	if err := t.fill(ctx, f, where, e, r); err != nil {
		return err
	}
	return errors.Join(f.Close(), folder.Chtimes(at, stamp, stamp))
}

// fill copies the content and keeps its hash.
func (t *tree) fill(ctx context.Context, w io.Writer, where string, e *entry, r io.Reader) error {
	buffer := t.buffers.Get().(*[128 << 10]byte)
	defer t.buffers.Put(buffer)
	sum := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buffer[:])
		if t.bytes.Add(int64(n)) > t.limits.Bytes {
			return t.refuse(where, fmt.Sprintf("with it the source is larger than the %d bytes allowed", t.limits.Bytes))
		}
		sum.Write(buffer[:n])
		if _, err := w.Write(buffer[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			sum.Sum(e.sum[:0])
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// text gives the content of a file of the tree, at most limit bytes; "" when there is none.
func (t *tree) text(at string, limit int64) (string, error) {
	if e := t.entries[at]; e == nil || e.kind == link {
		return "", nil
	}
	f, err := t.root.Open(at)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var text bytes.Buffer
	if n, err := io.Copy(&text, io.LimitReader(f, limit+1)); err != nil || n > limit {
		return "", errors.Join(err, t.refuse(at, "it is too large"))
	}
	return text.String(), nil
}

// refuse says why the source is not used because of what has that name in it.
func (t *tree) refuse(name, why string) *fault.Error {
	const most = 200
	if len(name) > most {
		name = name[:most] + "…"
	}
	return fault.Newf(fault.Denied, "read source", t.shown, fmt.Sprintf("%q: %s", name, why)).
		WithHint("leave it out of the source; docs/sources.md lists what is refused")
}
