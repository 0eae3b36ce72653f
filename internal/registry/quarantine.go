package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/singleflight"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Gate says of the manifests of a repository whether they may be pulled. A manifest is always
// named by its canonical digest (sha256), whatever a client called it.
type Gate interface {
	// Known gives what stands now, at once and without I/O; ok is false where nothing does. It
	// is asked for every pull: nobody else keeps the answer.
	Known(repository string, manifest digest.Digest) (j Judgement, ok bool)

	// Judge gives what stands, and may wait for a manifest to be judged for the first time. ctx
	// ends with Options.Patience and is of no request: what is done with it is done by this
	// process. An error refuses, and only the log is told of it.
	Judge(ctx context.Context, repository string, manifest digest.Digest) (Judgement, error)
}

// Judgement is what a gate says of a manifest. Clients see its texts.
type Judgement struct {
	Action artifact.Action // what is no action denies
	Why    string          // one line
	Remedy string          // one line: a command, or what else to do; may be empty
	Rules  []string        // "policy/rule" of those that did not pass
}

// defaultPatience is how long a request waits for a judgement.
const defaultPatience = 10 * time.Second

// quarantine lets those who may not inspect a repository read only what its gate released. A
// nil one binds nobody.
type quarantine struct {
	gate     Gate
	store    *store
	log      *slog.Logger
	patience time.Duration
	contents contents
	flights  singleflight.Group // judgements under way, by repository@digest
}

func newQuarantine(o Options, s *store, log *slog.Logger) *quarantine {
	if o.Gate == nil {
		return nil
	}
	return &quarantine{gate: o.Gate, store: s, log: log, patience: cmp.Or(o.Patience, defaultPatience)}
}

// binds says whether who asks gets only what is released of a repository. A request of this
// process is not bound; one from elsewhere is, though nobody asked who sent it.
func (q *quarantine) binds(r *http.Request, repo string) bool {
	if q == nil {
		return false
	}
	p := call.PrincipalOf(r.Context())
	if p == nil {
		return r.RemoteAddr != "" && r.RemoteAddr != inProcess
	}
	return !p.May(call.ActionInspect, repo)
}

// admits says whether a manifest may be read, of which this is the content that would be sent.
// Where it may not, it has answered.
func (q *quarantine) admits(w http.ResponseWriter, r *http.Request, to call.Endpoint, content []byte) bool {
	return q.decide(w, r, to, func(ctx context.Context) (ruling, bool, error) {
		it, err := q.learn(ctx, to.Repository, content, to.Reference)
		if err != nil {
			return ruling{}, false, err
		}
		found, err := q.rule(ctx, to.Repository, it, q.judge)
		return found, true, err
	})
}

// admitsBlob says whether a blob may be read: where a released manifest of the same repository
// refers to it, and not because it is there. Where it may not, it has answered.
func (q *quarantine) admitsBlob(w http.ResponseWriter, r *http.Request, to call.Endpoint, canonical digest.Digest) bool {
	return q.decide(w, r, to, func(ctx context.Context) (ruling, bool, error) {
		return q.ruleBlob(ctx, to.Repository, canonical)
	})
}

// lists gives those of a subject's referrers that may be read. Where the subject itself may
// not, it has answered, and ok is false.
func (q *quarantine) lists(w http.ResponseWriter, r *http.Request, to call.Endpoint, all []v1.Descriptor) (kept []v1.Descriptor, ok bool) {
	if !q.binds(r, to.Repository) {
		return all, true
	}
	kept = []v1.Descriptor{}
	ok = q.decide(w, r, to, func(ctx context.Context) (ruling, bool, error) {
		subject, there, err := q.ruleNamed(ctx, to.Repository, digest.Digest(to.Reference), q.judge)
		if err != nil || !there { // what is not there has no referrers
			return allowed(), true, err
		}
		if subject.released() {
			kept, err = q.readable(ctx, to.Repository, all)
		}
		return subject, true, err
	})
	return kept, ok
}

// readable gives those of the manifests that are released.
func (q *quarantine) readable(ctx context.Context, repo string, all []v1.Descriptor) ([]v1.Descriptor, error) {
	kept := []v1.Descriptor{}
	for _, d := range all {
		found, there, err := q.ruleNamed(ctx, repo, d.Digest, q.judge)
		if err != nil {
			return nil, err
		}
		if there && found.released() {
			kept = append(kept, d)
		}
	}
	return kept, nil
}

// pushed notes what a manifest that was taken in refers to. Failing that, it is read when it
// is asked for.
func (q *quarantine) pushed(ctx context.Context, p *push) {
	if q == nil {
		return
	}
	if _, err := q.learn(context.WithoutCancel(ctx), p.Repository, p.content, p.tags...); err != nil {
		q.log.Warn("what a manifest refers to cannot be read", "repository", p.Repository, "digest", p.canonical, "error", err)
	}
}

// mounts says whether who asks may take a blob out of a repository without having it.
func (q *quarantine) mounts(r *http.Request, from string, d digest.Digest) (bool, error) {
	if !q.binds(r, from) {
		return true, nil
	}
	if !call.IsRepository(from) || d.Validate() != nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), q.patience)
	defer cancel()
	canonical, linked, err := q.store.layer(ctx, from, d)
	if err != nil || !linked {
		return false, err
	}
	found, there, err := q.ruleBlob(ctx, from, canonical)
	return there && found.released(), err
}

// decide answers for what may not be read, and gives false; true lets the request go on.
func (q *quarantine) decide(w http.ResponseWriter, r *http.Request, to call.Endpoint, ruled func(context.Context) (found ruling, there bool, err error)) bool {
	if !q.binds(r, to.Repository) {
		return true
	}
	ctx, cancel := context.WithTimeout(r.Context(), q.patience)
	defer cancel()
	found, there, err := ruled(ctx)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded): // the next one finds more of it read
		q.refuse(w, r, to, unjudged(""))
	case err != nil:
		broken(w, q.log, err)
	case !there:
		unknown(w, to.Kind)
	case !found.released():
		q.refuse(w, r, to, found)
	default:
		call.RecordOf(r.Context()).Verdict = string(found.Action)
		if found.Action == artifact.ActionWarn {
			w.Header().Add("Warning", warning(found.text(r.Host, to)))
		}
		return true
	}
	return false
}

// refuse answers for what is held back. HEAD answers whoever may push here that it is not
// there: clients ask so before they send something, and take another refusal for the end. Where
// everybody may push, a tag is asked for by those who pull. Where anybody may pull what is released, a
// client shows its credentials only when it is asked for them, and they may let it see more.
func (q *quarantine) refuse(w http.ResponseWriter, r *http.Request, to call.Endpoint, found ruling) {
	text := found.text(r.Host, to)
	p := call.PrincipalOf(r.Context())
	if p != nil && p.Ask != nil {
		p.Ask(w, text)
		return
	}
	record := call.RecordOf(r.Context())
	record.Verdict, record.Why = string(artifact.ActionDeny), text
	if r.Method == http.MethodHead {
		byTag := to.Kind == call.KindManifest && !strings.Contains(to.Reference, ":")
		if p == nil && !byTag || p != nil && p.May(call.ActionPush, to.Repository) {
			unknown(w, to.Kind)
			return
		}
		w.Header().Add("Warning", warning(text)) // there is no body to say it in
	}
	call.Refusal{Status: http.StatusForbidden, Code: "DENIED", Message: text, Detail: struct {
		Gate   artifact.Gate `json:"gate"`
		Digest digest.Digest `json:"digest,omitempty"` // of the manifest that was judged
		Rules  []string      `json:"rules,omitempty"`
	}{artifact.GateRegistry, found.manifest, found.Rules}}.Write(w)
}

// unknown answers for what is not there.
func unknown(w http.ResponseWriter, kind call.Kind) {
	refusal := call.Refusal{Status: http.StatusNotFound, Code: "MANIFEST_UNKNOWN", Message: "the repository has no such manifest"}
	if kind == call.KindBlob {
		refusal.Code, refusal.Message = "BLOB_UNKNOWN", "the repository has no such blob"
	}
	refusal.Write(w)
}

// maxTold is how much is told of why something is held back, in bytes.
const maxTold = 1 << 10

// text says in one line what is held back, or warned of, why, and what to do. host is what the
// client called this registry by.
func (r ruling) text(host string, to call.Endpoint) string {
	mark, state := ":", "is quarantined"
	if strings.Contains(to.Reference, ":") {
		mark = "@"
	}
	if r.released() {
		state = "is released with a warning"
	}
	told := fmt.Sprintf("%s%s%s %s: %s", to.Repository, mark, to.Reference, state, cmp.Or(r.Why, "no policy allows it"))
	if r.Remedy != "" {
		told += "; remedy: " + remote(r.Remedy, host, to.Repository)
	}
	told = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) && c != unicode.ReplacementChar {
			return c
		}
		return ' ' // also what turns the direction of writing
	}, told)
	return strings.ToValidUTF8(cut(told, maxTold), "")
}

// aHost is a name or an address with which references may begin, and mostly a port.
var aHost = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:]{2,39}\])(:[0-9]{1,5})?$`)

// remote has a command name what is in the repository as clients do: without a host it would be
// what their own store holds.
func remote(command, host, repo string) string {
	if !aHost.MatchString(host) {
		return command // who asks chose the host
	}
	words := strings.Split(command, " ")
	for i, word := range words {
		if rest, ok := strings.CutPrefix(word, repo); ok && rest != "" && strings.ContainsAny(rest[:1], ":@") {
			words[i] = host + "/" + word
		}
	}
	return strings.Join(words, " ")
}

// warning gives the value of a header (OCI distribution-spec 1.1, "Warnings").
func warning(text string) string {
	quoted := strings.Map(func(c rune) rune {
		switch {
		case c == '"' || c == '\\':
			return '\''
		case c < ' ' || c > '~':
			return '?'
		}
		return c
	}, text)
	return `299 - "` + quoted + `"`
}
