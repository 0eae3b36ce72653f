package mirror

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

const whole = `# everything
apiVersion: plimsoll.dev/v1alpha1
kind: ImageImport
metadata:
  name: app
spec:
  source: registry.example.com/team/app
  credentials: {username: ferry, password: secrets/app}
  tags:
    names: [stable]
    patterns: ["1.*"]
    semver: ">=1.26 <2"
    except: ["*-rc*"]
    newest: 3
  platforms: [linux/amd64, linux/arm64/v8]
  destination:
    repository: approved/app
    tag: "{tag}-{digest}"
  schedule:
    cron: "0 3 * * *"
  verify:
    keys: [images.pub, "env://KEY"]
    identities:
    - {issuer: "https://id.example.com", subjectRegexp: "^ci@"}
    root: trusted_root.json
    want: [signature, provenance]
  evidence: true
  limits: {bytes: 4Gi, tags: 10}
  deletion: Untag
`

func TestReadImports(t *testing.T) {
	file := filepath.Join(t.TempDir(), "imports.yaml")
	second := strings.Replace(strings.Replace(whole, "name: app", "name: other", 1), "# everything", "---", 1)
	if err := os.WriteFile(file, []byte(whole+second), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := ReadImports(file)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	i, folder := all[0], filepath.Dir(file)
	if i.Name != "app" || i.Source != "registry.example.com/team/app" || i.Destination != "approved/app" || i.bytes != 4<<30 || i.tags != 10 {
		t.Errorf("got %+v", i)
	}
	want := []string{filepath.Join(folder, "images.pub"), "env://KEY"}
	if diff := cmp.Diff(want, i.spec.Verify.Keys); diff != "" {
		t.Error(diff)
	}
	if i.spec.Credentials.Password != filepath.Join(folder, "secrets/app") || i.spec.Verify.Root != filepath.Join(folder, "trusted_root.json") {
		t.Errorf("got %+v, %+v", i.spec.Credentials, i.spec.Verify)
	}
	if all[1].fingerprint != i.fingerprint {
		t.Error("one spec has two fingerprints")
	}
}

func TestReadImportsRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"an unknown field", "deletion: Untag", "delete: Untag", "line 29: spec.delete: unknown field"},
		{"another kind", "kind: ImageImport", "kind: Image", "line 3: kind"},
		{"a name with a slash", "name: app", "name: ../app", "line 5: metadata.name"},
		{"a source here", "registry.example.com/team/app", "team/app", "line 7: spec.source"},
		{"a source with a tag", "registry.example.com/team/app", "registry.example.com/team/app:1", "line 7: spec.source"},
		{"a source that climbs", "registry.example.com/team/app", "registry.example.com/team/../app", "line 7: spec.source"},
		{"a source with a scheme", "registry.example.com/team/app", "https://registry.example.com/app", "line 7: spec.source"},
		{"no password", "password: secrets/app", "password: ''", "line 8: spec.credentials.password"},
		{"no user", "username: ferry", "username: ''", "spec.credentials.username"},
		{"a bad tag", "[stable]", "[a/b]", "line 10: spec.tags.names[0]"},
		{"a bad pattern", `"1.*"`, `"[1"`, "spec.tags.patterns[0]"},
		{"a bad exception", `"*-rc*"`, `"["`, "spec.tags.except[0]"},
		{"a bad range", ">=1.26 <2", ">>1", "line 12: spec.tags.semver"},
		{"a negative number", "newest: 3", "newest: -3", "spec.tags.newest"},
		{"a bad platform", "linux/amd64,", "amd64,", "line 15: spec.platforms[0]"},
		{"a destination elsewhere", "repository: approved/app", "repository: registry.example.com/app", "line 17: spec.destination.repository"},
		{"a destination that climbs", "repository: approved/app", "repository: approved/../app", "spec.destination.repository"},
		{"a destination that is reserved", "repository: approved/app", "repository: plimsoll/steps", "spec.destination.repository"},
		{"one name for all", `"{tag}-{digest}"`, `latest`, "line 18: spec.destination.tag"},
		{"a bad template", `"{tag}-{digest}"`, `"{tag}/{name}"`, "line 18: spec.destination.tag"},
		{"a bad cron", "0 3 * * *", "every night", "line 20: spec.schedule.cron"},
		{"a cron with a zone", "0 3 * * *", "TZ=Asia/Tokyo 0 3 * * *", "spec.schedule.cron"},
		{"two schedules", `cron: "0 3 * * *"`, `{cron: "0 3 * * *", every: 1h}`, "spec.schedule"},
		{"too often", `cron: "0 3 * * *"`, `every: 1s`, "spec.schedule.every"},
		{"nobody to believe", `keys: [images.pub, "env://KEY"]`, "attestationKeys: []", ""},
		{"half an identity", `issuer: "https://id.example.com", `, "", "spec.verify.identities[0]"},
		{"a bad expression", "^ci@", "(", "spec.verify.identities[0].subjectRegexp"},
		{"a bad size", "bytes: 4Gi", "bytes: many", "line 28: spec.limits.bytes"},
		{"a negative size", "bytes: 4Gi", "bytes: -4Gi", "spec.limits.bytes"},
		{"a bad number of tags", "tags: 10", "tags: -1", "spec.limits.tags"},
		{"a bad deletion", "Untag", "untag", "line 29: spec.deletion"},
		{"two of a name", "# everything", whole + "---", `two imports are named "app"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(whole, c.old, c.new, 1)
			if text == whole {
				t.Fatal("the test changes nothing")
			}
			_, err := ParseImports("imports.yaml", []byte(text))
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	there := []string{"1.0.0", "1.1.0", "1.2.0-rc1", "1.10.0", "v2.0.0", "2024", "latest", "edge", "nightly-1", "nightly-2", "sha256-" + strings.Repeat("a", 64), "sha256-" + strings.Repeat("a", 64) + ".sig", "bad tag", ""}
	for _, c := range []struct {
		name, tags string
		want       []string
		fails      bool
	}{
		{"named, there or not", "{names: [gone, latest]}", []string{"gone", "latest"}, false},
		{"a range, the highest first", "{semver: '>=1 <2'}", []string{"1.10.0", "1.1.0", "1.0.0"}, false},
		{"a range with pre-releases", "{semver: '>=1.2.0-0 <1.3.0-0'}", []string{"1.2.0-rc1"}, false},
		{"a leading v", "{semver: '^2'}", []string{"v2.0.0"}, false},
		{"newest of a range", "{semver: '>=1 <2', newest: 2}", []string{"1.10.0", "1.1.0"}, false},
		{"newest does not count what is named", "{names: [latest], semver: '>=1 <2', newest: 1}", []string{"latest", "1.10.0"}, false},
		{"patterns", "{patterns: ['nightly-*']}", []string{"nightly-2", "nightly-1"}, false},
		{"versions stand before others", "{patterns: ['*'], newest: 4}", []string{"2024", "v2.0.0", "1.10.0", "1.2.0-rc1"}, false},
		{"a class", "{patterns: ['1.[01].0']}", []string{"1.1.0", "1.0.0"}, false},
		{"exceptions", "{patterns: ['1.*'], except: ['*-rc*', '1.0.*']}", []string{"1.10.0", "1.1.0"}, false},
		{"an exception does not count for what is named", "{names: [latest], except: [latest]}", []string{"latest"}, false},
		{"more than may be", "{patterns: ['*']}", nil, true},
	} {
		text := fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: ImageImport\nmetadata: {name: app}\nspec:\n  source: registry.example.com/app\n  tags: %s\n  destination: {repository: app}\n  limits: {tags: 5}\n", c.tags)
		all, err := ParseImports("app.yaml", []byte(text))
		if err != nil {
			t.Fatal(c.name, err)
		}
		got, err := all[0].choose(append([]string(nil), there...))
		if diff := cmp.Diff(c.want, got); diff != "" || (err != nil) != c.fails {
			t.Errorf("%s: %v %s", c.name, err, diff)
		}
	}
}

func TestNext(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, schedule string
		state          State
		want           time.Time
	}{
		{"on demand", "{}", State{Finished: at}, time.Time{}},
		{"by cron", "{cron: '30 3 * * *'}", State{Finished: at}, time.Date(2026, 3, 2, 3, 30, 0, 0, time.UTC)},
		{"by interval", "{every: 6h}", State{Finished: at}, at.Add(6 * time.Hour)},
		{"soon after a failure", "{every: 6h}", State{Finished: at, Failures: 1}, at.Add(time.Minute)},
		{"later after more of them", "{every: 6h}", State{Finished: at, Failures: 4}, at.Add(8 * time.Minute)},
		{"never later than the schedule", "{every: 2h}", State{Finished: at, Failures: 60}, at.Add(2 * time.Hour)},
	} {
		text := fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: ImageImport\nmetadata: {name: app}\nspec:\n  source: registry.example.com/app\n  tags: {names: [a]}\n  destination: {repository: app}\n  schedule: %s\n", c.schedule)
		all, err := ParseImports("app.yaml", []byte(text))
		if err != nil {
			t.Fatal(c.name, err)
		}
		if got := all[0].next(&c.state); !got.Equal(c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
		if never := all[0].next(&State{}); all[0].schedule != nil && never.After(at) {
			t.Errorf("%s: one that never ran is due only at %v", c.name, never)
		}
	}
}

func TestCheckProxies(t *testing.T) {
	for _, c := range []struct{ proxy, want string }{
		{"{source: docker.io}", ""},
		{"a name with a dot", "line 6: spec.projects[0].name"},
		{"{source: registry.example.com/team, allow: ['*', 'a/**'], ttl: 1d, bytes: '2Gi'}", ""},
		{"{source: team}", "line 8: spec.projects[0].proxy.source"},
		{"{source: registry.example.com/app:1}", "proxy.source"},
		{"{source: 'https://registry.example.com'}", "proxy.source"},
		{"{source: 'registry.example.com/a/../b'}", "proxy.source"},
		{"{source: registry.example.com, allow: ['a**']}", "proxy.allow[0]"},
		{"{source: registry.example.com, ttl: soon}", "proxy.ttl"},
		{"{source: registry.example.com, bytes: '-1'}", "proxy.bytes"},
		{"{source: registry.example.com, verify: {}}", "proxy.verify"},
		{"{source: registry.example.com, credentials: {username: a}}", "proxy.credentials.password"},
	} {
		name := "hub"
		if c.proxy == "a name with a dot" {
			name, c.proxy = "docker.io/hub", "{source: docker.io}"
		}
		text := "apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec:\n  projects:\n  - name: " + name + "\n    proxy:\n      " + c.proxy + "\n"
		_, err := settings.Parse([]byte(text), "/home", Check)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.proxy, err, c.want)
		}
	}
}

func TestProjectOf(t *testing.T) {
	for _, c := range []struct{ proxy, repository, want string }{
		{"{source: registry.example.com}", "hub/team/app", "registry.example.com/team/app"},
		{"{source: registry.example.com/team/}", "hub/app", "registry.example.com/team/app"},
		{"{source: registry.example.com/team}", "hub", "registry.example.com/team"},
		{"{source: registry.example.com}", "hub", ""},
		{"{source: docker.io}", "hub/nginx", "index.docker.io/library/nginx"},
		{"{source: registry.example.com, allow: ['team/*']}", "hub/team/app", "registry.example.com/team/app"},
		{"{source: registry.example.com, allow: ['team/*']}", "hub/team/deep/app", ""},
		{"{source: registry.example.com, allow: ['team/**']}", "hub/teams/app", ""},
		{"{source: registry.example.com, allow: ['team/**']}", "hub/team/deep/app", "registry.example.com/team/deep/app"},
	} {
		s, err := settings.Parse([]byte("apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec:\n  projects:\n  - name: hub\n    proxy: "+c.proxy+"\n"), "/home", Check)
		if err != nil {
			t.Fatal(err)
		}
		p, problem := readProxy("hub", *s.Projects[0].Proxy, s.Folder)
		if problem != nil {
			t.Fatal(problem)
		}
		got, err := p.of(c.repository)
		if (err == nil) != (c.want != "") || err == nil && got.Context().Name() != c.want {
			t.Errorf("%s in %s: got %v, %v, want %q", c.repository, c.proxy, got, err, c.want)
		}
	}
}

func FuzzParseImports(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("---\n---\n# nothing\n"))
	f.Add([]byte(strings.Replace(whole, "0 3 * * *", "*/0 3-1 ? L 9", 1)))
	f.Add([]byte("apiVersion: plimsoll.dev/v1alpha1\nkind: ImageImport\nmetadata: {name: a}\nspec: {source: x.io/a, tags: {patterns: ['[a-']}, destination: {repository: a}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := ParseImports("fuzz.yaml", text)
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Errorf("got kind %v of %v", fault.KindOf(err), err)
			}
			return
		}
		for _, i := range all {
			if i.source.IsLocal() || !i.target.IsLocal() || i.bytes <= 0 || i.tags <= 0 {
				t.Errorf("took %+v", i)
			}
			chosen, err := i.choose([]string{"1.0", "../x", "latest", string(text[:min(len(text), 200)])})
			for _, tag := range chosen {
				if err == nil && !isTag(tag) {
					t.Errorf("chose %q", tag)
				}
			}
			i.next(&State{Finished: time.Unix(1_700_000_000, 0).UTC()})
		}
	})
}
