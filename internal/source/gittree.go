package source

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// The modes of a tree's entries; git has no others.
const (
	gitFile    = "100644"
	gitShared  = "100664" // of repositories from git's first days
	gitProgram = "100755"
	gitSymlink = "120000"
	gitlink    = "160000" // a submodule's commit
)

// object is one entry of a listed tree.
type object struct {
	mode, id, name string
	size           int64
}

// unpack puts the files of the folder at of the commit into the tree, below under.
func (r *repository) unpack(ctx context.Context, at, under string, depth int) error {
	out, err := r.git.output(ctx, "ls-tree", "-r", "-z", "-l", r.commit+":"+at)
	if err != nil {
		return fault.Newf(fault.NotFound, "fetch source", r.job.shown, fmt.Sprintf("it has no folder %q in %s", at, r.commit)).
			WithHint("name a folder of that commit as the sub-path")
	}
	var blobs []object
	var modules []object
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		o, err := parseObject(line)
		switch {
		case line == "":
			continue
		case err != nil:
			return r.job.tree.refuse(o.name, err.Error())
		case o.mode == gitlink:
			modules = append(modules, o)
		default:
			blobs = append(blobs, o)
		}
	}
	if err := r.unpackBlobs(ctx, blobs, under); err != nil {
		return err
	}
	return r.unpackModules(ctx, modules, at, under, depth)
}

// parseObject reads "mode type id size<TAB>name", as git-ls-tree(1) writes it.
func parseObject(line string) (o object, err error) {
	about, name, _ := strings.Cut(line, "\t")
	fields := strings.Fields(about)
	if len(fields) != 4 {
		return object{name: name}, fmt.Errorf("git lists it in a way that is not known")
	}
	o = object{mode: fields[0], id: fields[2], name: name}
	switch o.mode {
	case gitlink:
		return o, nil
	case gitFile, gitShared, gitProgram, gitSymlink:
		o.size, err = strconv.ParseInt(fields[3], 10, 64)
		return o, err
	}
	return o, fmt.Errorf("it has the mode %s, which is neither a file's nor a link's", o.mode)
}

// unpackBlobs writes the files; one process of git gives the contents of all.
func (r *repository) unpackBlobs(ctx context.Context, blobs []object, under string) error {
	const name = "unpack files"
	r.job.stage(name, 0, len(blobs))
	return r.git.pipe(ctx, func(w io.Writer) error {
		for _, o := range blobs {
			if _, err := io.WriteString(w, o.id+"\n"); err != nil {
				return err
			}
		}
		return nil
	}, func(in *bufio.Reader) error {
		for i, o := range blobs {
			if err := r.unpackBlob(ctx, in, o, path.Join(under, o.name)); err != nil {
				return err
			}
			r.job.stage(name, i+1, len(blobs))
		}
		return nil
	}, "cat-file", "--batch")
}

func (r *repository) unpackBlob(ctx context.Context, in *bufio.Reader, o object, at string) error {
	header, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%s blob %d\n", o.id, o.size); header != want {
		return fmt.Errorf("git has %q where %q is listed", strings.TrimSpace(header), strings.TrimSpace(want))
	}
	content := io.LimitReader(in, o.size)
	if o.mode == gitSymlink {
		target, readErr := io.ReadAll(io.LimitReader(content, int64(r.job.tree.limits.Path)+1))
		if readErr != nil {
			return readErr
		}
		err = r.job.tree.link(at, string(target))
	} else {
		err = r.job.tree.file(ctx, at, o.mode == gitProgram, content)
	}
	if err != nil {
		return err
	}
	// What the tree did not want, and the line end behind it.
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	_, err = in.Discard(1)
	return err
}
