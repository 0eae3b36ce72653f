// Package extract takes one file of an image's layer and gives what it tells of: packages,
// the files they own, their licences.
package extract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"plimsoll.dev/plimsoll/artifact"
)

// File is a regular file of a layer.
type File struct {
	Path string      // relative to the root, clean
	Size int64       // bytes
	Mode fs.FileMode // permission bits
	Body io.ReaderAt // its bytes, while the extractor runs
	Temp string      // a folder for what must be on disk; the extractor cleans up
}

// Text gives all bytes of the file; those that ask have a Limit.
func (f File) Text() ([]byte, error) {
	text := make([]byte, f.Size)
	n, err := f.Body.ReadAt(text, 0)
	if errors.Is(err, io.EOF) && n == len(text) {
		err = nil
	}
	return text, err
}

// Reader gives the bytes of the file from its beginning.
func (f File) Reader() *io.SectionReader { return io.NewSectionReader(f.Body, 0, f.Size) }

// Found is what a file tells.
type Found struct {
	Packages []artifact.Package // without Layer, FoundBy and Owner; Paths only where it is not the file itself
	Owns     []Owned            // what belongs to packages
	Licenses []string           // of the Debian package whose copyright file it is
	Distro   *artifact.Distro   // what an os-release says
	Declared []artifact.Package // what a buildpack declares
	Whole    int                // index of the package that is the file itself, from 1; 0 for none
	Gaps     []string           // what could not be read of it, one line each
}

// Owned is a file, or a folder with all below it, that belongs to a package.
type Owned struct {
	Path   string // relative to the root, clean
	Folder bool
	By     string // name of the distribution's package; "" for any other
}

// Extractor knows one kind of file.
type Extractor struct {
	Name  string
	Limit int64                                    // bytes of the largest file it reads; a larger one is a gap
	Wants func(path string, mode fs.FileMode) bool // by name; must be cheap
	Magic func(head []byte) bool                   // by the first 8 bytes; nil for any
	Read  func(context.Context, File) (Found, error)
}

const mib = 1 << 20

// All gives the extractors; the first that wants a file has it.
func All() []Extractor {
	return []Extractor{
		dpkgStatus(), dpkgList(), dpkgSums(), debianCopyright(), apk(), rpm(), osRelease(),
		npm(), python(), egg(), jar(), gem(), composer(), dotnet(), javaRelease(), goToolchain(),
		buildpackMaterials(), executable(),
	}
}

// Run reads the file. A third party's parser that panics on what a stranger wrote is an
// error like any other.
func (e Extractor) Run(ctx context.Context, f File) (found Found, err error) {
	defer func() {
		if r := recover(); r != nil {
			found, err = Found{}, fmt.Errorf("its parser gave up: %v", r)
		}
	}()
	if f.Size > e.Limit {
		return Found{}, fmt.Errorf("it has %d bytes, more than the %d that are read of its kind", f.Size, e.Limit)
	}
	return e.Read(ctx, f)
}
