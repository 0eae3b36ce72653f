package rootfs

import (
	"archive/tar"
	"fmt"
	"path"
	"strings"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

type kind string

const (
	file     kind = "file"
	dir      kind = "dir"
	symlink  kind = "symlink"
	hardlink kind = "hardlink"
	fifo     kind = "fifo"
	whiteout kind = "whiteout" // Name is gone from the layers below
	opaque   kind = "opaque"   // all in the folder Name is gone from the layers below
)

// entry is one member of a layer's tar. Its blob, for a file, lies in the unpacked layer
// under its own number.
type entry struct {
	Name   string            // clean, relative, slash-separated; "." is the root itself
	Kind   kind              // what it is
	Mode   uint32            `json:",omitempty"` // permission bits with setuid, setgid and sticky
	UID    int               `json:",omitempty"`
	GID    int               `json:",omitempty"`
	MTime  int64             `json:",omitempty"` // nanoseconds since 1970
	Link   string            `json:",omitempty"` // target: as written for a symlink, clean for a hardlink
	Blob   int               `json:",omitempty"`
	Size   int64             `json:",omitempty"` // of a file, bytes
	Xattrs map[string]string `json:",omitempty"`
}

// text is how many bytes of an entry are of a length that the tar chooses.
func (e *entry) text() int {
	n := len(e.Name) + len(e.Link)
	for name, value := range e.Xattrs {
		n += len(name) + len(value)
	}
	return n
}

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	maxPath        = 4095 // PATH_MAX without its NUL
	maxName        = 255
)

// newEntry gives the entry of a tar header, nil for one that has no place in a root
// filesystem, or why it is refused.
func newEntry(h *tar.Header) (*entry, error) {
	name, err := cleanName(h.Name)
	if err != nil {
		return nil, err
	}
	base := path.Base(name)
	switch {
	case base == opaqueName:
		return &entry{Name: path.Dir(name), Kind: opaque}, nil
	case strings.HasPrefix(base, ".wh..wh."):
		return nil, nil // aufs' own books, as in image-spec layer.md's predecessors
	case strings.HasPrefix(base, whiteoutPrefix):
		gone := strings.TrimPrefix(base, whiteoutPrefix)
		if gone == "" || gone == "." || gone == ".." {
			return nil, fmt.Errorf("whiteout %q names nothing", h.Name)
		}
		return &entry{Name: path.Join(path.Dir(name), gone), Kind: whiteout}, nil
	}
	e := &entry{Name: name, Mode: uint32(h.Mode) & 0o7777, UID: clampID(h.Uid), GID: clampID(h.Gid), MTime: h.ModTime.UnixNano()}
	e.Xattrs = keptXattrs(h.PAXRecords)
	if err := e.classify(h); err != nil || e.Kind == "" {
		return nil, err
	}
	if name == "." && e.Kind != dir {
		return nil, fmt.Errorf("the root %q is not a folder", h.Name)
	}
	return e, nil
}

// classify sets Kind and what belongs to it; an empty Kind means the member is left out.
func (e *entry) classify(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		e.Kind, e.Size = file, h.Size
	case tar.TypeDir:
		e.Kind = dir
	case tar.TypeFifo:
		e.Kind = fifo
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxPath || strings.ContainsRune(h.Linkname, 0) {
			return fmt.Errorf("symbolic link %q has no usable target", h.Name)
		}
		e.Kind, e.Link = symlink, h.Linkname
	case tar.TypeLink:
		target, err := cleanName(h.Linkname)
		if err != nil {
			return fmt.Errorf("hard link %q: target: %w", h.Name, err)
		}
		e.Kind, e.Link = hardlink, target
	case tar.TypeChar, tar.TypeBlock:
		// Old base images carry a few nodes in /dev, where a step has its own anyway.
		if !strings.HasPrefix(e.Name, "dev/") {
			return fmt.Errorf("%q is a device node", h.Name)
		}
	case tar.TypeXGlobalHeader:
	default:
		return fmt.Errorf("%q is of the unknown kind %q", h.Name, h.Typeflag)
	}
	return nil
}

// cleanName gives a member's name relative to the root, or why it cannot be in one.
func cleanName(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("the name %q holds a NUL", name)
	}
	if len(name) > maxPath {
		return "", fmt.Errorf("the name %.40q… is longer than %d bytes", name, maxPath)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("the name %q climbs out with \"..\"", name)
		}
		if len(part) > maxName {
			return "", fmt.Errorf("the name %.40q… has a part longer than %d bytes", name, maxName)
		}
	}
	// Every part is harmless now: what is left of a leading slash is the root itself.
	return path.Join(".", strings.TrimLeft(name, "/")), nil
}

// keptXattrs are the attributes that mean the same in every place: the users' own and file
// capabilities. Overlay's and SELinux's belong to the machine they came from.
func keptXattrs(pax map[string]string) map[string]string {
	var kept map[string]string
	for key, value := range pax {
		name, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if !ok || (!strings.HasPrefix(name, "user.") && name != "security.capability") {
			continue
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[name] = value
	}
	return kept
}

// clampID gives what the kernel calls the overflow id for one that does not fit a step's
// 65,536 ids.
func clampID(id int) int {
	if id < 0 || id > executor.MaxID {
		return executor.MaxID
	}
	return id
}

func refuse(diffID string, why error) error {
	return fault.New(fault.Denied, "unpack layer", diffID, why).
		WithHint("the layer is damaged or made to do harm: build or fetch the image again")
}
