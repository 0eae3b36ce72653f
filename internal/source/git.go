package source

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// repository is a remote repository of which one commit is here.
type repository struct {
	git    git
	url    string // without login
	scheme string
	commit string
	job    *job
}

// readGit fetches a commit and puts its files into the tree as git stores them: without a
// checkout, no filter, hook or line end conversion has a say.
func (j *job) readGit(ctx context.Context, s *artifact.Source) error {
	g, err := j.remoteGit(ctx)
	if err != nil {
		return err
	}
	r := &repository{git: g, url: j.at, scheme: j.scheme, job: j}
	r.git.dir = filepath.Join(j.staging, "git")
	if err := r.fetch(ctx, j.options.Ref); err != nil {
		return err
	}
	s.Revision, s.Clean = r.commit, true
	s.Time = r.git.commitTime(ctx, r.commit)
	if err := r.unpack(ctx, j.options.Subpath, "", 0); err != nil {
		return err
	}
	return j.choose()
}

// fetch brings the commit that ref names, and as little else as the server allows.
func (r *repository) fetch(ctx context.Context, ref string) error {
	if isCommit(ref) {
		return r.fetchCommit(ctx, ref)
	}
	id, name, err := r.resolve(ctx, ref)
	if err != nil {
		return err
	}
	if name == "" {
		return r.fetchShort(ctx, ref)
	}
	if err := r.init(ctx, len(id)); err != nil {
		return err
	}
	if err := r.receive(ctx, "--depth=1", "--", r.url, "+"+name+":"+kept); err != nil {
		return err
	}
	return r.settle(ctx, kept, ref)
}

// kept is the name of the fetched commit.
const kept = "refs/source"

// peeled is what servers call the commit of a tag that is an object of its own (gitprotocol-v2(5)).
const peeled = "^{}"

// resolve asks the server which commit a branch or tag is; name is "" when there is none
// of that name, which may then be a commit's short id.
func (r *repository) resolve(ctx context.Context, ref string) (id, name string, err error) {
	names := []string{"HEAD"}
	switch {
	case strings.HasPrefix(ref, "refs/"):
		names = []string{ref}
	case ref != "":
		names = []string{"refs/heads/" + ref, "refs/tags/" + ref}
	}
	asked := slices.Clone(names)
	for _, name := range names {
		asked = append(asked, name+peeled)
	}
	// It has no repository yet: the staging folder will do.
	g := r.git
	g.dir = r.job.staging
	out, err := g.output(ctx, append([]string{"ls-remote", "--", r.url}, asked...)...)
	if err != nil {
		return "", "", r.job.gitFailed("fetch source", err)
	}
	ids := map[string]string{}
	for line := range strings.Lines(string(out)) {
		id, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		ids[name] = id
	}
	for _, name := range names { // a branch before a tag, as for git clone
		if ids[name] != "" {
			return cmp.Or(ids[name+peeled], ids[name]), name, nil
		}
	}
	if shortID.MatchString(ref) {
		return "", "", nil
	}
	if ref == "" {
		return "", "", fault.Newf(fault.NotFound, "fetch source", r.job.shown, "it has no default branch").WithHint(`name a branch: "URL#branch"`)
	}
	return "", "", r.job.noRef(ref)
}

var shortID = regexp.MustCompile(`^[0-9a-f]{7,63}$`)

// fetchCommit brings a commit by its id, alone if the server gives it so.
func (r *repository) fetchCommit(ctx context.Context, id string) error {
	if err := r.init(ctx, len(id)); err != nil {
		return err
	}
	alone := r.receive(ctx, "--depth=1", "--", r.url, "+"+id+":"+kept)
	if alone == nil {
		return r.settle(ctx, kept, id)
	}
	if kind := fault.KindOf(alone); ctx.Err() != nil || kind == fault.Unavailable || kind == fault.Denied {
		return alone
	}
	return r.fetchAll(ctx, id)
}

// fetchShort brings everything, since servers do not know short ids.
func (r *repository) fetchShort(ctx context.Context, id string) error {
	if err := r.init(ctx, 40); err != nil {
		return err
	}
	return r.fetchAll(ctx, id)
}

func (r *repository) fetchAll(ctx context.Context, id string) error {
	if err := r.receive(ctx, "--", r.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
		return err
	}
	return r.settle(ctx, id, id)
}

// settle finds the commit of a name in the repository; asked is what the user calls it.
func (r *repository) settle(ctx context.Context, name, asked string) error {
	r.commit = r.git.line(ctx, "rev-parse", "--verify", "--quiet", name+"^{commit}")
	if r.commit == "" {
		return r.job.noRef(asked)
	}
	return nil
}

// init makes an empty repository for ids of so many digits.
func (r *repository) init(ctx context.Context, digits int) error {
	format := "sha1"
	if digits == 64 {
		format = "sha256"
	}
	if err := os.Mkdir(r.git.dir, 0o700); err != nil {
		return err
	}
	// Without a template there are no hooks.
	_, err := r.git.output(ctx, "init", "--quiet", "--bare", "--template=", "--object-format="+format)
	return r.job.gitFailed("fetch source", err)
}

func (r *repository) receive(ctx context.Context, arguments ...string) error {
	const name = "receive objects"
	total := 0
	r.git.progress = func(done, of int) {
		if total == 0 {
			r.job.stage(name, 0, of)
		}
		total = of
		r.job.stage(name, done, of)
	}
	_, err := r.git.output(ctx, append([]string{"fetch", "--progress", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--update-shallow"}, arguments...)...)
	return r.job.gitFailed("fetch source", err)
}

func (j *job) noRef(ref string) error {
	return fault.Newf(fault.NotFound, "fetch source", j.shown, "it has no branch, tag or commit "+ref).
		WithHint("look at what there is with: git ls-remote " + j.shown)
}
