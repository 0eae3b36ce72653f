package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// descend makes the folder at the tree's top; what is outside of it is no more a part.
func (t *tree) descend(at string) error {
	if at == "" {
		return nil
	}
	if !t.folders[at] {
		return fault.Newf(fault.NotFound, "read source", t.shown, fmt.Sprintf("it has no folder %q", at)).
			WithHint("name a folder of the source as the sub-path")
	}
	if err := t.root.MkdirAll(at, 0o755); err != nil { // it may hold links only
		return err
	}
	root, err := t.root.OpenRoot(at)
	if err != nil {
		return err
	}
	t.root.Close()
	t.root, t.dir = root, filepath.Join(t.dir, at)
	t.entries, t.folders = below(t.entries, at), below(t.folders, at)
	t.folders["."] = true
	return nil
}

func below[T any](all map[string]T, folder string) map[string]T {
	out := map[string]T{}
	for at, v := range all {
		if rest, ok := strings.CutPrefix(at, folder+"/"); ok {
			out[rest] = v
		}
	}
	return out
}

// top gives the folder that holds everything, or "".
func (t *tree) top() string {
	top := ""
	for at := range t.entries {
		first, _, inside := strings.Cut(at, "/")
		if !inside || top != "" && top != first {
			return ""
		}
		top = first
	}
	return top
}

// remove takes an entry out of the tree.
func (t *tree) remove(at string) error {
	e := t.entries[at]
	delete(t.entries, at)
	if e.kind == link {
		return nil
	}
	return t.root.Remove(at)
}

// finish makes the links, once none of them leads out, and gives the digest of the tree.
func (t *tree) finish(ctx context.Context) (string, error) {
	if len(t.entries) == 0 {
		return "", fault.Newf(fault.Usage, "read source", t.shown, "it holds no files").
			WithHint("see whether an ignore file leaves everything out")
	}
	names := slices.Sorted(maps.Keys(t.entries))
	steps := 0
	for _, at := range names {
		if t.entries[at].kind == link {
			if err := t.checkLink(at, &steps); err != nil {
				return "", err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := t.clear(); err != nil {
		return "", err
	}
	for _, at := range names {
		if e := t.entries[at]; e.kind == link {
			if err := t.makeLink(at, e.target); err != nil {
				return "", err
			}
		}
	}
	for folder := range t.folders {
		if err := errors.Join(t.root.Chmod(folder, 0o755), t.root.Chtimes(folder, stamp, stamp)); err != nil {
			return "", err
		}
	}
	return t.digest(names), ctx.Err()
}

// checkLink refuses a link that leads out of the tree, by itself or by other links.
func (t *tree) checkLink(name string, steps *int) error {
	const most = 40 // links in one path; Linux gives up there (path_resolution(7))
	e := t.entries[name]
	if path.IsAbs(e.target) {
		return t.outside(name)
	}
	at, rest := path.Dir(name), strings.Split(e.target, "/")
	for followed := 1; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if *steps++; *steps > maxSteps {
			return t.refuse(name, "the links of the source are too many to follow")
		}
		if part == ".." && at == "." {
			return t.outside(name)
		}
		at = path.Join(at, part)
		next := t.entries[at]
		if next == nil || next.kind != link {
			continue
		}
		if path.IsAbs(next.target) {
			return t.outside(name)
		}
		if followed++; followed > most {
			return nil // it leads nowhere
		}
		at, rest = path.Dir(at), append(strings.Split(next.target, "/"), rest...)
	}
	return nil
}

func (t *tree) outside(name string) error {
	e := t.refuse(name, fmt.Sprintf("the link to %q leads out of the source", t.entries[name].target))
	return e.WithHint("put what it leads to into the source, or leave the link out by a line in .plimsollignore")
}

// clear removes the folders that hold nothing, and makes those that hold links only.
func (t *tree) clear() error {
	needed := map[string]bool{".": true}
	for at, e := range t.entries {
		folder := path.Dir(at)
		if e.kind == link {
			if err := t.root.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		for ; !needed[folder]; folder = path.Dir(folder) {
			needed[folder] = true
		}
	}
	empty := []string{}
	for folder := range t.folders {
		if !needed[folder] {
			empty = append(empty, folder)
		}
	}
	// The longer a path, the deeper: a folder goes before the one that it is in.
	slices.SortFunc(empty, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, folder := range empty {
		if err := t.root.Remove(folder); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	t.folders = needed
	return nil
}

func (t *tree) makeLink(at, target string) error {
	folder, err := t.root.Open(path.Dir(at))
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := t.root.Symlink(target, at); err != nil {
		return err
	}
	when := unix.NsecToTimespec(stamp.UnixNano())
	err = unix.UtimesNanoAt(int(folder.Fd()), path.Base(at), []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
	return os.NewSyscallError("utimensat", err)
}

// digest hashes a line for each entry, in the order of the names' bytes: its kind, the hash
// of its content, its name. docs/sources.md says how to make the same with a shell.
func (t *tree) digest(names []string) string {
	sum := sha256.New()
	for _, at := range names {
		e := t.entries[at]
		fmt.Fprintf(sum, "%c %x %s\n", e.kind, e.sum, at)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}
