package source

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Revision is what a source is at some time.
type Revision struct {
	ID string // as artifact.Source.Revision: a commit's id, or the digest of an archive or image

	// Validator is what a server said of an archive (RFC 9110, section 8.8): with it the next
	// question costs no download while nothing has changed. "" for all else.
	Validator string
}

// Revision says what is at the location now, without fetching more than it must: of git and of
// images nothing, of an archive all of it unless the server says that it is as last knew it.
// The zero last knows nothing. Errors are those of Fetch.
func (f *Fetcher) Revision(ctx context.Context, location string, o Options, last Revision) (Revision, error) {
	var now Revision
	err := f.ask(ctx, location, o, func(ctx context.Context, j *job) error {
		var err error
		switch j.kind {
		case artifact.GitSource:
			now.ID, err = j.gitRevision(ctx)
		case artifact.ArchiveSource:
			j.known = last
			_, now.ID, err = j.download(ctx, io.Discard)
			now.Validator = j.known.Validator
		case artifact.ImageSource:
			now.ID, err = j.imageRevision(ctx)
		default:
			err = j.usage("only git URLs, URLs of archives and oci://REF can be asked what they are now", "")
		}
		return err
	})
	return now, err
}

// Changed gives the files in which two commits of a git source differ, relative to the top of the
// repository. It fetches both without their history. Errors are those of Fetch; NotFound where
// the repository has one of them no more.
func (f *Fetcher) Changed(ctx context.Context, location string, from, to string) ([]string, error) {
	var paths []string
	err := f.ask(ctx, location, Options{}, func(ctx context.Context, j *job) error {
		if j.kind != artifact.GitSource {
			return j.usage("only a git repository knows what has changed", "")
		}
		if !isCommit(from) || !isCommit(to) {
			return j.usage("want the ids of two commits in full", "")
		}
		g, err := j.remoteGit(ctx)
		if err != nil {
			return err
		}
		r := &repository{git: g, url: j.at, scheme: j.scheme, job: j}
		r.git.dir = filepath.Join(j.staging, "git")
		paths, err = r.changed(ctx, from, to)
		return err
	})
	return paths, err
}

// ask does something with what is at the location, and leaves nothing behind.
func (f *Fetcher) ask(ctx context.Context, location string, o Options, do func(context.Context, *job) error) error {
	p, err := parse(location)
	if err != nil {
		return err
	}
	if err := p.settle(&o); err != nil {
		return err
	}
	j := &job{Fetcher: f, place: p, options: o}
	if j.staging, err = os.MkdirTemp("", "plimsoll-source-*"); err != nil {
		return j.failed(err)
	}
	defer os.RemoveAll(j.staging)
	if j.tree, err = newTree(filepath.Join(j.staging, "tree"), j.shown, o.Limits); err != nil {
		return j.failed(err)
	}
	defer j.tree.close()
	if err := do(ctx, j); err != nil {
		return j.outcome(ctx, err)
	}
	return nil
}

// gitRevision asks the server which commit a ref is.
func (j *job) gitRevision(ctx context.Context) (string, error) {
	ref := j.options.Ref
	if isCommit(ref) {
		return ref, nil
	}
	g, err := j.remoteGit(ctx)
	if err != nil {
		return "", err
	}
	r := &repository{git: g, url: j.at, scheme: j.scheme, job: j}
	id, name, err := r.resolve(ctx, ref)
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", j.usage("a commit's short id says nothing without the repository", "give all 40 digits")
	}
	return id, nil
}

// imageRevision reads the digest of the image.
func (j *job) imageRevision(ctx context.Context) (string, error) {
	ref, err := oci.Parse(j.at)
	if err != nil {
		return "", err
	}
	if j.Images == nil {
		return "", j.usage("there is no registry to read it from", "")
	}
	d, err := j.Images.Get(ctx, ref)
	if err != nil {
		return "", err
	}
	return d.Digest.String(), nil
}

// changed fetches two commits, without what is in their files where the server can leave that
// out, and compares them.
func (r *repository) changed(ctx context.Context, from, to string) ([]string, error) {
	if err := r.init(ctx, len(from)); err != nil {
		return nil, err
	}
	const remote = "source" // a partial clone needs one with a name (git-clone(1), --filter)
	if _, err := r.git.output(ctx, "config", "remote."+remote+".url", r.url); err != nil {
		return nil, r.job.gitFailed("fetch source", err)
	}
	if err := r.receive(ctx, "--depth=1", "--filter=blob:none", "--", remote, "+"+from+":refs/from", "+"+to+":refs/to"); err != nil {
		if kind := fault.KindOf(err); kind == fault.Unavailable || kind == fault.Denied || ctx.Err() != nil {
			return nil, err
		}
		return nil, r.job.noRef(from + " or " + to)
	}
	out, err := r.git.output(ctx, "diff-tree", "-r", "-z", "--name-only", "--no-renames", "refs/from", "refs/to")
	if err != nil {
		return nil, r.job.gitFailed("compare commits", err)
	}
	var paths []string
	for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths, nil
}
