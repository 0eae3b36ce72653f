// Package tree takes folders and gives them as tar streams between an executor and its
// agent in a pod, whole or as what changed in them; and takes such streams, whatever is in
// them, and gives folders.
//
// A member's owner is not carried: what is unpacked belongs to who unpacks it. Set-user-id
// and set-group-id bits are taken off on the way, and devices, pipes and sockets left out.
package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Bounds limits what may come in one stream, or lie in one folder. A zero field is no limit.
type Bounds struct {
	Files int   // members
	Bytes int64 // contents together, holes included
}

// ErrTooMuch is in the chain of what Bounds refuse.
var ErrTooMuch = errors.New("too much")

func (b *Bounds) take(name string, size int64) error {
	if b.Files--; b.Files < 0 {
		return fmt.Errorf("%w: %q is one file more than allowed", ErrTooMuch, name)
	}
	if b.Bytes -= size; size < 0 || b.Bytes < 0 {
		return fmt.Errorf("%w: %q makes it larger than allowed", ErrTooMuch, name)
	}
	return nil
}

// orNone gives bounds that can be counted down.
func (b Bounds) orNone() Bounds {
	if b.Files == 0 {
		b.Files = int(^uint(0) >> 1)
	}
	if b.Bytes == 0 {
		b.Bytes = 1<<63 - 1
	}
	return b
}

const (
	maxPath  = 4095 // PATH_MAX without its NUL
	maxName  = 255
	maxDepth = 512
	modes    = 0o1777 // permissions and the sticky bit

	// Staging is a folder of a returned folder in which what comes back is put first. It is
	// neither sent nor asked for.
	Staging = ".plimsoll-returned"
)

// clean gives a member's name relative to its folder, "." for the folder itself, or why it
// can be in none.
func clean(name string) (string, error) {
	if name == "" || path.IsAbs(name) || strings.ContainsRune(name, 0) || len(name) > maxPath {
		return "", fmt.Errorf("%.40q is no name in a folder", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." || len(part) > maxName {
			return "", fmt.Errorf("%.40q is no name in a folder", name)
		}
	}
	name = path.Clean(name)
	if first, _, _ := strings.Cut(name, "/"); first == Staging {
		return "", fmt.Errorf("%.40q is a name of the executor's own", name)
	}
	return name, nil
}

// walk visits a folder's members, the folder itself first as ".", in order of their names.
// It follows no links. With force it opens what its owner has shut.
func walk(root *os.Root, force bool, visit func(name string, info fs.FileInfo) error) error {
	return descend(root, ".", 0, force, visit)
}

func descend(root *os.Root, name string, depth int, force bool, visit func(string, fs.FileInfo) error) error {
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if err := visit(name, info); err != nil || !info.IsDir() {
		return err
	}
	if depth == maxDepth || len(name) > maxPath {
		return fmt.Errorf("%w: %.40q… lies too deep", ErrTooMuch, name)
	}
	list, err := names(root, name, info, force)
	if err != nil {
		return err
	}
	for _, base := range list {
		if name == "." && base == Staging {
			continue
		}
		if err := descend(root, path.Join(name, base), depth+1, force, visit); err != nil {
			return err
		}
	}
	return nil
}

// names lists a folder.
func names(root *os.Root, name string, info fs.FileInfo, force bool) ([]string, error) {
	if force && info.Mode()&0o500 != 0o500 {
		_ = root.Chmod(name, info.Mode().Perm()|0o500) // where it is not ours, reading it fails or not
	}
	list, err := fs.ReadDir(root.FS(), name)
	if err != nil {
		return nil, err
	}
	bases := make([]string, len(list))
	for i, e := range list {
		bases[i] = e.Name()
	}
	return bases, nil
}

// stamp is by what a file is known to be what it was: its owner can set none of inode and
// change time.
type stamp struct {
	inode, size int64
	changed     int64 // nanoseconds since 1970
}

func stampOf(info fs.FileInfo) stamp {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{inode: int64(st.Ino), size: st.Size, changed: syscall.TimespecToNsec(st.Ctim)}
}

// links gives how many names the file has.
func links(info fs.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return uint64(st.Nlink)
}

// fraction carries the nanoseconds of a time in the name of a member's owner, which is of
// no use here: tar's own way takes a kilobyte a member.
func fraction(t time.Time) string { return strconv.Itoa(t.Nanosecond()) }

func withFraction(t time.Time, text string) time.Time {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n >= int(time.Second) {
		return t
	}
	return time.Unix(t.Unix(), int64(n))
}
