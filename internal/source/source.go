// Package source takes a location (a directory, a git URL, an archive, an OCI artifact) and
// gives a Source: its tree in a folder, and what is known of it.
package source

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Fetcher fetches sources. The zero Fetcher reads everything but images. It is safe for
// concurrent use.
type Fetcher struct {
	Images Images       // reads oci:// locations; nil: they are refused
	Client *http.Client // downloads archives; nil is one that uses the environment's proxies
	Agent  string       // User-Agent of downloads
	Env    []string     // environment of git, "NAME=value"; nil is the process's own

	// Progress hears of each finished item of a stage; nil hears nothing. It may be called
	// from several goroutines at a time.
	Progress func(stage string, done, total int)
}

// Images reads what a reference names, an image or an index.
type Images interface {
	Get(ctx context.Context, ref oci.Reference) (*remote.Descriptor, error)
}

// Options say what of a source is taken, and how much it may be.
type Options struct {
	Ref      string   // branch, tag or commit of a git source; "" is the remote's default
	Subpath  string   // the folder to take, relative and slash-separated; "" is all
	Checksum string   // "sha256:" and 64 hex digits: what an archive's file must be
	Include  []string // take only what these match, in git's ignore syntax; empty is all
	Exclude  []string // leave out what these match; they outrank the ignore files
	KeepTop  bool     // do not strip the single folder that holds all of an archive
	Limits   Limits
}

// Fetch puts the tree that the location names into dir, which it makes, and says what it
// is. Nothing is left of dir when it fails. The forms of a location are in docs/sources.md.
//
// Errors are *fault.Error: Usage for a location or options that make no sense, Denied for
// content that is not safe to use and for a refused login, NotFound, Unavailable.
func (f *Fetcher) Fetch(ctx context.Context, location string, o Options, dir string) (artifact.Source, error) {
	var none artifact.Source
	p, err := parse(location)
	if err != nil {
		return none, err
	}
	if err := p.settle(&o); err != nil {
		return none, err
	}
	j := &job{Fetcher: f, place: p, options: o}
	if j.dir, err = filepath.Abs(dir); err != nil {
		return none, j.failed(err)
	}
	source, err := j.run(ctx)
	if err != nil {
		return none, j.outcome(ctx, err)
	}
	return source, nil
}

// outcome gives what the caller is told of an error.
func (j *job) outcome(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fault.New(fault.Canceled, "fetch source", j.shown, ctx.Err())
	}
	if _, known := errors.AsType[*fault.Error](err); known {
		return err
	}
	return j.failed(err)
}

// job is one Fetch.
type job struct {
	*Fetcher
	place
	options Options
	dir     string // where the tree is to be, absolute
	staging string // a folder beside dir that is removed in the end
	tree    *tree
	modules int // submodules met

	known Revision // of an archive, to be downloaded only if it is another; then what it is
}

func (j *job) run(ctx context.Context) (artifact.Source, error) {
	var none artifact.Source
	if _, err := os.Lstat(j.dir); err == nil {
		return none, fault.Newf(fault.Usage, "fetch source into", j.dir, "it exists")
	}
	if err := os.MkdirAll(filepath.Dir(j.dir), 0o755); err != nil {
		return none, err
	}
	var err error
	if j.staging, err = os.MkdirTemp(filepath.Dir(j.dir), ".source-*"); err != nil {
		return none, err
	}
	defer os.RemoveAll(j.staging)
	if j.tree, err = newTree(filepath.Join(j.staging, "tree"), j.shown, j.options.Limits); err != nil {
		return none, err
	}
	defer j.tree.close()
	source, err := j.read(ctx)
	if err != nil {
		return none, err
	}
	if source.Digest, err = j.tree.finish(ctx); err != nil {
		return none, err
	}
	return source, os.Rename(j.tree.dir, j.dir)
}

// read puts the place's files into the job's tree, whatever their kind.
func (j *job) read(ctx context.Context) (artifact.Source, error) {
	s := artifact.Source{Kind: j.kind, Location: j.shown, Ref: j.options.Ref, Subpath: j.options.Subpath}
	var err error
	switch j.kind {
	case artifact.GitSource:
		err = j.readGit(ctx, &s)
	case artifact.ArchiveSource:
		err = j.readDownload(ctx, &s)
	case artifact.ImageSource:
		err = j.readImage(ctx, &s)
	default:
		err = j.readLocal(ctx, &s)
	}
	return s, err
}

// stage reports progress.
func (j *job) stage(name string, done, total int) {
	if j.Progress != nil {
		j.Progress(name, done, total)
	}
}

func (j *job) failed(err error) error { return fault.New(fault.Failed, "fetch source", j.shown, err) }

// usage is an error of the one who asked.
func (p *place) usage(why, hint string) error {
	return fault.Newf(fault.Usage, "read source location", p.shown, why).WithHint(hint)
}
