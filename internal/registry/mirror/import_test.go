package mirror_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
)

func TestImport(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(testing.TB) *outside
	}{{"the distribution project's registry", theirs}, {"ours", ours}} {
		t.Run(c.name, func(t *testing.T) {
			them, s := c.start(t), newSite(t)
			first := them.push(t, "team/app:1.0.0", 500_000, 2_000)
			index := them.pushIndex(t, "team/app:1.1.0", platforms(t, "linux/amd64", "linux/arm64"))
			them.push(t, "team/app:nightly")
			i := s.read(t, "app", fmt.Sprintf("source: %s/team/app\ntags: {semver: '>=1'}\ndestination: {repository: approved/app, tag: '{tag}-in'}", them.address))

			report := s.run(t, i)
			if diff := cmp.Diff([]string{"1.1.0 imported", "1.0.0 imported"}, results(report)); diff != "" || report.Err() != nil {
				t.Fatal(diff, report.Err())
			}
			for tag, want := range map[string]v1.Hash{"1.0.0-in": first, "1.1.0-in": index} {
				if got := s.named(t, "approved/app:"+tag); got != want.String() {
					t.Errorf("%s names %q, want %s", tag, got, want)
				}
			}
			wantAccounts := []string{"approved/app@" + index.String(), "approved/app@" + first.String()}
			if diff := cmp.Diff(wantAccounts, s.accounts); diff != "" {
				t.Errorf("accounted for: %s", diff)
			}
			if diff := cmp.Diff([]string{"approved/app:1.1.0-in", "approved/app:1.0.0-in"}, s.names); diff != "" {
				t.Errorf("named: %s", diff)
			}

			them.forget()
			again := s.run(t, i)
			if diff := cmp.Diff([]string{"1.1.0 unchanged", "1.0.0 unchanged"}, results(again)); diff != "" || len(s.names) != 2 {
				t.Error(diff, s.names)
			}
			if n := them.count("GET", "/manifests/") + them.count("GET", "/blobs/"); n > 0 {
				t.Errorf("what is here was fetched again: %v", them.requests())
			}
		})
	}
}

func TestImportMovedTag(t *testing.T) {
	them, s := ours(t), newSite(t)
	them.push(t, "app:stable")
	i := s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {names: [stable]}\ndestination: {repository: app}", them.address))
	s.run(t, i)
	before := s.named(t, "app:stable")

	moved := them.push(t, "app:stable")
	s.deny = func(oci.Reference) error {
		return fault.Newf(fault.Denied, "judge", "app:stable", "it has malware")
	}
	report := s.run(t, i)
	if diff := cmp.Diff([]string{"stable denied"}, results(report)); diff != "" {
		t.Fatal(diff)
	}
	if fault.KindOf(s.ended) != fault.Denied {
		t.Errorf("told of %v", s.ended)
	}
	if fault.KindOf(report.Err()) != fault.Denied || !strings.Contains(report.Tags[0].Why, "malware") {
		t.Errorf("got %v", report.Err())
	}
	if got := s.named(t, "app:stable"); got != before {
		t.Errorf("the tag moved to what is denied: %s", got)
	}
	if s.named(t, "app@"+moved.String()) == "" {
		t.Error("what is denied cannot be looked into")
	}

	s.deny = nil
	them.forget()
	report = s.run(t, i)
	if got := s.named(t, "app:stable"); got != moved.String() || report.Tags[0].Result != mirror.Imported {
		t.Errorf("once it is allowed the tag names %s, %v", got, results(report))
	}
	if n := them.count("GET", "/blobs/"); n > 0 {
		t.Errorf("what was here already was fetched again, in %d requests", n)
	}
}

// The tag moves while the image is on its way: what was resolved is what is taken.
func TestImportTagMovesMeanwhile(t *testing.T) {
	them, s := ours(t), newSite(t)
	first := them.push(t, "app:1")
	moved := false
	them.whenAsked(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/sha256:") && !moved {
			moved = true
			them.whenAsked(nil)
			them.push(t, "app:1")
		}
		next.ServeHTTP(w, r)
	})
	s.run(t, s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {names: ['1']}\ndestination: {repository: app}\nevidence: false", them.address)))
	if got := s.named(t, "app:1"); got != first.String() || !moved {
		t.Errorf("got %s, want %s (moved: %v)", got, first, moved)
	}
}

func TestImportEvidence(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(testing.TB) *outside
	}{{"with a list of referrers", ours}, {"without", theirs}} {
		t.Run(c.name, func(t *testing.T) {
			them, s := c.start(t), newSite(t)
			subject := them.push(t, "app:1")
			report := about(t, subject, 500)
			them.put(t, "app@"+digestOf(t, report).String(), report)
			stranger := about(t, v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}, 500)
			them.put(t, "app@"+digestOf(t, stranger).String(), stranger)
			attachByTag(t, them, "app", subject, report, stranger)
			signature := image(t, 64)
			them.put(t, "app:sha256-"+subject.Hex+".sig", signature)

			s.run(t, s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {patterns: ['*']}\ndestination: {repository: in/app}", them.address)))
			listed, err := s.session.Referrers(t.Context(), parse(t, "in/app:1"), subject)
			if err != nil || len(listed.Manifests) != 1 || listed.Manifests[0].Digest != digestOf(t, report) {
				t.Errorf("got %v, %v", listed.Manifests, err)
			}
			if got, want := s.named(t, "in/app:sha256-"+subject.Hex+".sig"), digestOf(t, signature).String(); got != want {
				t.Errorf("the signature's tag names %q, want %s", got, want)
			}
			if s.named(t, "in/app@"+digestOf(t, stranger).String()) != "" {
				t.Error("what is about something else came along")
			}
		})
	}
}

// attachByTag writes what registries without a list of referrers keep of them.
func attachByTag(t *testing.T, them *outside, repository string, subject v1.Hash, artifacts ...v1.Image) {
	t.Helper()
	list := v1.IndexManifest{SchemaVersion: 2, MediaType: "application/vnd.oci.image.index.v1+json"}
	for _, a := range artifacts {
		size, err := a.Size()
		if err != nil {
			t.Fatal(err)
		}
		list.Manifests = append(list.Manifests, v1.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: digestOf(t, a), Size: size})
	}
	them.putRaw(t, repository+":sha256-"+subject.Hex, string(list.MediaType), list)
}

func TestImportPlatforms(t *testing.T) {
	them, s := ours(t), newSite(t)
	whole := them.pushIndex(t, "app:1", platforms(t, "linux/amd64", "linux/arm64", "windows/amd64"))
	report := s.run(t, s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {names: ['1']}\nplatforms: [linux/arm64]\ndestination: {repository: app}", them.address)))
	m, err := s.session.Manifest(t.Context(), parse(t, "app:1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Index.Manifests) != 1 || m.Index.Manifests[0].Platform.Architecture != "arm64" || m.Digest == whole {
		t.Errorf("got %s", m.Raw)
	}
	if len(report.Tags[0].Notes) != 1 || !strings.Contains(report.Tags[0].Notes[0], "not all platforms") {
		t.Errorf("nobody is told: %q", report.Tags[0].Notes)
	}
	lacking := s.run(t, s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {names: ['1']}\nplatforms: [linux/s390x]\ndestination: {repository: app}", them.address)))
	if lacking.Tags[0].Result != mirror.Broken || s.named(t, "app:1") != m.Digest.String() {
		t.Errorf("got %v", lacking.Tags)
	}
}

func TestImportGone(t *testing.T) {
	for _, c := range []struct {
		tags     string
		deletion string
		moved    bool // by somebody here
		want     string
		stays    bool
	}{
		{"patterns: ['*']", "Keep", false, "missing", true},
		{"patterns: ['*']", "Untag", false, "untagged", false},
		{"patterns: ['*']", "Untag", true, "missing", true},
		{"names: ['2', '1']", "Keep", false, "missing", true},
		{"names: ['2', '1']", "Untag", false, "untagged", false},
	} {
		t.Run(fmt.Sprint(c.tags, c.deletion, c.moved), func(t *testing.T) {
			them, s := theirs(t), newSite(t)
			digest := them.push(t, "app:1")
			them.push(t, "app:2")
			i := s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {%s}\ndestination: {repository: app}\ndeletion: %s", them.address, c.tags, c.deletion))
			s.run(t, i)
			if c.moved {
				m, err := s.session.Manifest(t.Context(), parse(t, "app:2"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.session.PutManifest(t.Context(), parse(t, "app:1"), m.MediaType, m.Raw); err != nil {
					t.Fatal(err)
				}
			}
			if done, err := them.session.Delete(t.Context(), them.ref(t, "app@"+digest.String())); err != nil || !done {
				t.Fatal(done, err)
			}
			report := s.run(t, i)
			if diff := cmp.Diff([]string{"2 unchanged", "1 " + c.want}, results(report)); diff != "" {
				t.Error(diff)
			}
			if stays := s.named(t, "app:1") != ""; stays != c.stays {
				t.Errorf("the tag stays: %v", stays)
			}
		})
	}
}

// Who signs an image after it was taken in is heard of, a day later at most; the image itself is
// not fetched again.
func TestImportEvidenceThatCameLater(t *testing.T) {
	them, s := ours(t), newSite(t)
	subject := them.push(t, "app:1")
	i := s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {names: ['1']}\ndestination: {repository: app}", them.address))
	s.run(t, i)
	report := about(t, subject, 500)
	them.put(t, "app@"+digestOf(t, report).String(), report)
	attached := func() int {
		listed, err := s.session.Referrers(t.Context(), parse(t, "app:1"), subject)
		if err != nil {
			t.Fatal(err)
		}
		return len(listed.Manifests)
	}
	if s.run(t, i); attached() != 0 {
		t.Fatal("it was looked for at once: the source is asked more than it need be")
	}
	yesterday(t, s.dir, "app")
	them.forget()
	got := s.run(t, i)
	if attached() != 1 || got.Tags[0].Result != mirror.Imported && got.Tags[0].Result != mirror.Unchanged {
		t.Errorf("%d are attached, %v", attached(), results(got))
	}
	if n := them.count("GET", "/manifests/"+subject.String()); n > 0 {
		t.Errorf("the image was fetched again")
	}
}

// yesterday makes all that an import knows two days older.
func yesterday(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, "state", name+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s mirror.State
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	for tag, state := range s.Tags {
		state.Brought = state.Brought.Add(-48 * time.Hour)
		s.Tags[tag] = state
	}
	s.Finished = s.Finished.Add(-48 * time.Hour)
	if text, err = json.Marshal(s); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	them := ours(t)
	them.push(t, "app:1")
	var said strings.Builder
	var mu sync.Mutex
	s := newSite(t, func(o *mirror.Options) {
		o.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &said}, nil))
	})
	s.read(t, "manual", fmt.Sprintf("source: %s/app\ntags: {names: ['1']}\ndestination: {repository: manual}", them.address))
	scheduled := s.read(t, "nightly", fmt.Sprintf("source: %s/app\ntags: {names: ['1']}\ndestination: {repository: nightly}\nschedule: {every: 24h}", them.address))

	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx)
		}()
		return func() { cancel(); <-ended }
	}
	ended := func(i *mirror.Import, after time.Time) func() bool {
		return func() bool {
			state, err := s.State(i)
			return err == nil && state.Finished.After(after)
		}
	}
	stop := run()
	eventually(t, ended(scheduled, time.Time{}))
	stop()
	state, err := s.State(scheduled)
	if err != nil || state.Next.Sub(state.Finished).Round(time.Minute) != 24*time.Hour || s.named(t, "nightly:1") == "" {
		t.Errorf("got %+v, %v", state, err)
	}
	if s.named(t, "manual:1") != "" {
		t.Error("what has no schedule ran")
	}

	// It is not due again, until a day has passed; another file that is wrong does not keep it.
	them.forget()
	stop = run()
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Count(said.String(), "read imports") == 2
	})
	yesterday(t, s.dir, "nightly")
	if err := os.WriteFile(filepath.Join(s.dir, "broken.yaml"), []byte("kind: Nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, ended(scheduled, state.Finished))
	stop()
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(said.String(), "imports stay as they were read before") {
		t.Errorf("nobody is told of the broken file:\n%s", said.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *strings.Builder
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
