package layer

import (
	"fmt"
	"path"
	"strings"
)

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	maxPath        = 4095 // PATH_MAX without its NUL
)

// cleanName gives an entry's name relative to the root, or why it cannot be in one.
func cleanName(name string) (string, error) {
	if strings.ContainsRune(name, 0) || len(name) > maxPath {
		return "", fmt.Errorf("the name %.60q is none that a file can have", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("the name %.60q climbs out with \"..\"", name)
		}
	}
	return path.Join(".", strings.TrimLeft(name, "/")), nil
}

// whiteout gives what an entry takes away of the layers below (image-spec, layer.md,
// "Whiteouts"): a path, or all that is in a folder.
func whiteout(name string) (gone string, opaque, is bool) {
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	switch {
	case base == opaqueName:
		return dir, true, true
	case strings.HasPrefix(base, ".wh..wh."):
		return "", false, true // books that aufs kept
	case strings.HasPrefix(base, whiteoutPrefix):
		return path.Join(dir, strings.TrimPrefix(base, whiteoutPrefix)), false, true
	}
	return "", false, false
}
