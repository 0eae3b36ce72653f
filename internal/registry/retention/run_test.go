package retention_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/retention"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// bed is a registry of which one project, "team", has rules.
type bed struct {
	*testing.T
	reg     *registry.Registry
	root    string
	setting *settings.Settings
	pulls   *retention.Pulls
	handler http.Handler
}

func open(t *testing.T, rules string) *bed {
	t.Helper()
	b := &bed{T: t, root: t.TempDir()}
	var err error
	if b.reg, err = registry.Open(t.Context(), registry.Options{Root: b.root}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.reg.Close() })
	text := "apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec:\n  keeping: {untagged: 0s}\n  projects:\n  - {name: free}\n  - name: team\n" + rules
	if b.setting, err = settings.Parse([]byte(text), "", retention.Check); err != nil {
		t.Fatal(err)
	}
	if b.pulls, err = retention.OpenPulls(filepath.Join(t.TempDir(), "pulls"), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	b.handler = retention.NewImmutable(b.reg, b.now).Door(b.reg.Handler())
	return b
}

func (b *bed) now() *settings.Settings { return b.setting }

func (b *bed) keeper(o retention.Options) *retention.Keeper {
	o.Grace = time.Nanosecond
	return retention.New(b.reg, b.now, b.pulls, o)
}

func (b *bed) run(o retention.Options, dry bool) retention.Report {
	b.Helper()
	report, err := b.keeper(o).Run(b.Context(), dry)
	if err != nil {
		b.Fatal(err)
	}
	return report
}

// as asks as somebody who may do these things.
func (b *bed) as(may []call.Action, method, path, body string) (int, string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	who := &call.Principal{Name: "ann", May: func(a call.Action, _ string) bool { return slices.Contains(may, a) }}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r.WithContext(call.WithPrincipal(r.Context(), who)))
	return w.Code, w.Body.String()
}

func (b *bed) want(want int, method, path, body string) {
	b.Helper()
	if got, text := b.as(nil, method, path, body); got != want {
		b.Fatalf("%s %s: %d %s, want %d", method, path, got, text, want)
	}
}

// push pushes an index of its own by the tag, as so many days ago.
func (b *bed) push(repository, tag string, days int) digest.Digest {
	b.Helper()
	content := index(repository+tag, "")
	b.want(201, "PUT", "/v2/"+repository+"/manifests/"+tag, content)
	link := filepath.Join(b.root, "docker/registry/v2/repositories", repository, "_manifests/tags", tag, "current/link")
	at := time.Now().AddDate(0, 0, -days)
	if err := os.Chtimes(link, at, at); err != nil {
		b.Fatal(err)
	}
	return digest.FromString(content)
}

func index(name, more string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"%s,"manifests":[],"annotations":{"name":%q}}`, more, name)
}

func (b *bed) tags(repository string) []string {
	b.Helper()
	tags, err := b.reg.Tags(b.Context(), repository)
	if err != nil {
		b.Fatal(err)
	}
	var names []string
	for _, tag := range tags {
		names = append(names, tag.Name)
	}
	return names
}

func TestRun(t *testing.T) {
	b := open(t, "    retention: [{keepLast: 1}]\n    immutableTags: [release-*]\n")
	one := b.push("team/app", "v1", 9)
	deployed := b.push("team/app", "v2", 8)
	b.push("team/app", "release-1", 7)
	newest := b.push("team/app", "v3", 1)
	b.push("free/app", "v1", 9)
	b.push("free/app", "v2", 9)
	b.push("team/other", "v1", 100)
	// What is about an image goes with it, in both forms, and stays with it.
	for _, d := range []digest.Digest{one, newest} {
		subject := fmt.Sprintf(`,"subject":{"mediaType":"application/vnd.oci.image.index.v1+json","digest":%q,"size":1}`, d)
		about := index("about "+d.String(), subject)
		b.want(201, "PUT", "/v2/team/app/manifests/"+digest.FromString(about).String(), about)
		b.want(201, "PUT", "/v2/team/app/manifests/"+strings.Replace(d.String(), ":", "-", 1)+".sig", index("signs "+d.String(), ""))
	}
	loose := index("loose", "")
	b.want(201, "PUT", "/v2/team/app/manifests/"+digest.FromString(loose).String(), loose)
	b.want(201, "PUT", "/v2/free/app/manifests/"+digest.FromString(loose).String(), loose)

	var told int
	o := retention.Options{
		Deployed: func(context.Context) (map[digest.Digest]bool, error) {
			return map[digest.Digest]bool{deployed: true}, nil
		},
		Done: func(context.Context, retention.Report) { told++ },
	}
	dry := b.run(o, true)
	if got := b.tags("team/app"); len(got) != 6 || told != 0 {
		t.Fatalf("a dry run left %v, and told %d times", got, told)
	}
	real := b.run(o, false)
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
	dry.DryRun, dry.Collected.DryRun = false, false
	dry.Collected.Tags = real.Collected.Tags           // tags whose manifests go at last
	dry.Collected.Referrers = real.Collected.Referrers // as their entries
	if diff := cmp.Diff(real, dry); diff != "" {
		t.Errorf("what was done differs from what was said: %s", diff)
	}
	if len(real.Removed) != 1 || real.Removed[0].Tag != "v1" || real.Removed[0].Digest != one || real.Removed[0].Repository != "team/app" {
		t.Errorf("removed: %+v", real.Removed)
	}
	if diff := cmp.Diff([]string{"release-1", strings.Replace(newest.String(), ":", "-", 1) + ".sig", "v2", "v3"}, b.tags("team/app")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"v1", "v2"}, b.tags("free/app")); diff != "" {
		t.Error(diff)
	}
	b.want(404, "GET", "/v2/team/app/manifests/"+one.String(), "")
	b.want(404, "GET", "/v2/team/app/manifests/"+digest.FromString(loose).String(), "")
	b.want(200, "GET", "/v2/free/app/manifests/"+digest.FromString(loose).String(), "")
	if referrers, text := b.as(nil, "GET", "/v2/team/app/referrers/"+newest.String(), ""); referrers != 200 || !strings.Contains(text, "digest") {
		t.Errorf("what is about an image that stays is gone: %s", text)
	}
}

// An index keeps what it holds, and what runs of it keeps the index.
func TestDeployedChildKeepsItsIndex(t *testing.T) {
	b := open(t, "    retention: [{keepLast: 1}]\n")
	child := index("child", "")
	b.want(201, "PUT", "/v2/team/app/manifests/"+digest.FromString(child).String(), child)
	parent := strings.Replace(index("parent", ""), "[]", fmt.Sprintf(`[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":%q,"size":%d}]`, digest.FromString(child), len(child)), 1)
	b.want(201, "PUT", "/v2/team/app/manifests/v1", parent)
	b.push("team/app", "v2", -1)
	report := b.run(retention.Options{Deployed: func(context.Context) (map[digest.Digest]bool, error) {
		return map[digest.Digest]bool{digest.FromString(child): true}, nil
	}}, false)
	if len(report.Removed) > 0 {
		t.Errorf("%+v", report.Removed)
	}
	b.want(200, "GET", "/v2/team/app/manifests/"+digest.FromString(child).String(), "")
}

func TestNothingGoesWhenItIsNotKnownWhatIsDeployed(t *testing.T) {
	b := open(t, "    retention: [{keepLast: 1}]\n")
	b.push("team/app", "v1", 9)
	b.push("team/app", "v2", 1)
	_, err := b.keeper(retention.Options{Deployed: func(context.Context) (map[digest.Digest]bool, error) {
		return nil, errors.New("the cluster does not answer")
	}}).Run(t.Context(), false)
	if fault.KindOf(err) != fault.Unavailable || len(b.tags("team/app")) != 2 {
		t.Errorf("%v: %v", err, b.tags("team/app"))
	}
}

func TestPulledTagsStay(t *testing.T) {
	b := open(t, "    retention: [{keepPulledWithin: 30d}]\n")
	b.push("team/app", "v1", 900)
	if report := b.run(retention.Options{}, true); len(report.Removed) > 0 {
		t.Errorf("pulls are known since a moment ago, and %+v goes", report.Removed)
	}
}

func TestImmutableTags(t *testing.T) {
	const tag = "/v2/team/app/manifests/v1"
	content, other := index("one", ""), index("two", "")
	child := index("child", "")
	parent := strings.Replace(index("parent", ""), "[]", fmt.Sprintf(`[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":%q,"size":%d}]`, digest.FromString(child), len(child)), 1)
	at := func(content string) string { return "/v2/team/app/manifests/" + digest.FromString(content).String() }
	approver, admin, pusher := []call.Action{call.ActionApprove}, []call.Action{call.ActionAdmin}, []call.Action{call.ActionPush, call.ActionDelete}
	cases := []struct {
		name         string
		may          []call.Action
		method, path string
		body         string
		want         int
	}{
		{"the same again", pusher, "PUT", tag, content, 201},
		{"moved", pusher, "PUT", tag, other, 403},
		{"moved by a query", pusher, "PUT", at(other) + "?tag=v1", other, 403},
		{"moved among others", pusher, "PUT", "/v2/team/app/manifests/latest?tag=new&tag=v1", other, 403},
		{"moved by an approver", approver, "PUT", tag, other, 201},
		{"moved by an admin", admin, "PUT", tag, other, 201},
		{"another tag", pusher, "PUT", "/v2/team/app/manifests/latest", other, 201},
		{"a new one of the pattern", pusher, "PUT", "/v2/team/app/manifests/v2", other, 201},
		{"another project", pusher, "PUT", "/v2/free/app/manifests/v1", other, 201},
		{"broken manifest", pusher, "PUT", tag, "{", 403},
		{"removed", pusher, "DELETE", tag, "", 403},
		{"removed by digest", pusher, "DELETE", at(content), "", 403},
		{"removed by an approver", approver, "DELETE", tag, "", 202},
		{"what it holds removed", pusher, "DELETE", at(child), "", 403},
		{"what another tag names removed", pusher, "DELETE", at(index("loose", "")), "", 202},
		{"one that is not there", pusher, "DELETE", "/v2/team/app/manifests/v9", "", 404},
		{"a blob removed", pusher, "DELETE", "/v2/team/app/blobs/" + digest.FromString("x").String(), "", 403},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, "    immutableTags: [v*]\n")
			b.want(201, "PUT", tag, content)
			b.want(201, "PUT", at(child), child)
			b.want(201, "PUT", "/v2/team/app/manifests/v-index", parent)
			b.want(201, "PUT", "/v2/team/app/manifests/loose", index("loose", ""))
			b.want(201, "PUT", "/v2/free/app/manifests/v1", content)
			got, text := b.as(c.may, c.method, c.path, c.body)
			if got != c.want || got == 403 && !strings.Contains(text, `"code":"DENIED"`) {
				t.Errorf("%d %s, want %d", got, text, c.want)
			}
			within, err := b.reg.Within(t.Context(), "team/app", "v1")
			if err != nil || got == 403 && within[0] != digest.FromString(content) {
				t.Errorf("the tag names %v: %v", within, err)
			}
		})
	}
}

// Of many who make the same new tag at once one wins, and it stays.
func TestOneWinsANewTag(t *testing.T) {
	b := open(t, "    immutableTags: [v*]\n")
	var all sync.WaitGroup
	var mu sync.Mutex
	var won []digest.Digest
	for i := range 30 {
		all.Go(func() {
			content := index(fmt.Sprint(i), "")
			if status, _ := b.as(nil, "PUT", "/v2/team/app/manifests/v1", content); status == 201 {
				mu.Lock()
				defer mu.Unlock()
				won = append(won, digest.FromString(content))
			}
		})
	}
	all.Wait()
	within, err := b.reg.Within(t.Context(), "team/app", "v1")
	if err != nil || len(won) != 1 || within[0] != won[0] {
		t.Errorf("%d won, and the tag names %v: %v", len(won), within, err)
	}
}
