package extract

import (
	"context"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/log"

	"plimsoll.dev/plimsoll/internal/evidence/sbom/license"
)

// scalibr runs an extractor of osv-scalibr on one file. Only those are used whose memory is
// bounded by the file's size.
func scalibr(build func(*cpb.PluginConfig) (filesystem.Extractor, error)) func(context.Context, File) ([]*extractor.Package, error) {
	made := sync.OnceValues(func() (filesystem.Extractor, error) {
		quiet()
		return build(&cpb.PluginConfig{})
	})
	return func(ctx context.Context, f File) ([]*extractor.Package, error) {
		e, err := made()
		if err != nil {
			return nil, err
		}
		found, err := e.Extract(ctx, &filesystem.ScanInput{
			FS: alone{}, Path: f.Path, Info: stat{f}, Reader: f.Reader(),
		})
		return found.Packages, err
	}
}

// quiet keeps scalibr from writing to standard error: what matters of its messages comes
// back as errors, the rest would let an image speak to the terminal.
var quiet = sync.OnceFunc(func() { log.SetLogger(silent{}) })

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Infof(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
func (silent) Error(...any)          {}
func (silent) Warn(...any)           {}
func (silent) Info(...any)           {}
func (silent) Debug(...any)          {}

// licensesOf gives one licence text, if there is any.
func licensesOf(text string) []string {
	if text = license.Of(text); text == "" {
		return nil
	}
	return []string{text}
}

// alone is a filesystem without other files: a layer is read as a stream, and each file
// must speak for itself.
type alone struct{}

func (alone) Open(name string) (fs.File, error) { return nil, missing("open", name) }

func (alone) Stat(name string) (fs.FileInfo, error) { return nil, missing("stat", name) }

func (alone) ReadDir(name string) ([]fs.DirEntry, error) { return nil, missing("readdir", name) }

func missing(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// stat is a File as fs.FileInfo.
type stat struct{ file File }

func (s stat) Name() string       { return path.Base(s.file.Path) }
func (s stat) Size() int64        { return s.file.Size }
func (s stat) Mode() fs.FileMode  { return s.file.Mode }
func (s stat) ModTime() time.Time { return time.Time{} }
func (s stat) IsDir() bool        { return false }
func (s stat) Sys() any           { return nil }

// within says whether the path lies in a folder of that name, at any depth.
func within(file, folder string) bool {
	return strings.HasPrefix(file, folder+"/") || strings.Contains(file, "/"+folder+"/")
}
