package tests

import (
	"maps"
	"slices"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// A rule is broken by fields that are put into the least resource of a kind.
type broken struct {
	kind, spec string // YAML
	says       string // the start of "field: message"
}

var brokenRules = []broken{
	{"AdvisoryFeed", `{kind: osv, ecosystems: [Go]}`, "spec: a feed needs a url"},
	{"AdvisoryFeed", `{url: "https://a.example.com/x"}`, "spec: a feed needs a url, but one of kind debian has none"},
	{"AdvisoryFeed", `{kind: osv, url: "https://a.example.com/x"}`, "spec: feeds of kind osv and debian-tracker need ecosystems"},
	{"AdvisoryFeed", `{kind: kev, url: "https://a.example.com/x", suites: [trixie]}`, "spec: suites and mirrors are for the kind debian"},
	{"AdvisoryFeed", `{kind: debian-tracker, url: "https://a.example.com/x", ecosystems: [npm]}`, "spec: a debian-tracker's ecosystems name releases"},
	{"AdvisoryFeed", `{kind: osv, url: "https://a.example.com/x", ecosystems: ["1"]}`, "spec.ecosystems[0]: want the name of an ecosystem"},
	{"AdvisoryFeed", `{interval: 1ms}`, "spec.interval: want a time of at least 1s"},
	{"AdvisoryFeed", `{interval: soon}`, "spec.interval: want a time of at least 1s"},
	{"AdvisoryFeed", `{suites: [../x]}`, "spec.suites[0]: want a name of the archive's"},
	{"AdvisoryFeed", `{kind: kev, url: "https://ann:secret@a.example.com/x"}`, "spec.url: take the login out of the address"},
	{"AdvisoryFeed", `{kind: kev, url: "ftp://a.example.com/x"}`, "spec.url: want an http, https or file address"},
	{"AdvisoryFeed", `{kind: rss}`, `spec.kind: Unsupported value: "rss"`},

	{"BaseImage", `{runAs: {uid: 0, gid: 0}}`, "spec: root is not allowed"},
	{"BaseImage", `{accounts: {users: [{name: toor, uid: 0, gid: 0}]}}`, "spec: a second root is not allowed"},
	{"BaseImage", `{absent: {packages: [A]}}`, "spec.absent.packages[0]: want the name of a Debian package"},
	{"BaseImage", `{exclude: [usr/share]}`, "spec.exclude[0]: want an absolute path"},
	{"BaseImage", `{exclude: [/usr/../etc]}`, "spec.exclude[0]: want an absolute path"},
	{"BaseImage", `{omit: [{package: dash, reason: " "}]}`, "spec.omit[0].reason: say why"},
	{"BaseImage", `{accounts: {groups: [{name: a, gid: 1, members: ["b,c"]}]}}`, "spec.accounts.groups[0].members[0]: want a name of at most 32 letters"},
	{"BaseImage", `{accounts: {users: [{name: a, uid: 1, gid: 1, comment: "a:b"}]}}`, "spec.accounts.users[0].comment: a colon or a line break"},
	{"BaseImage", `{accounts: {users: [{name: a, uid: 1, gid: 1, comment: "a\nb"}]}}`, "spec.accounts.users[0].comment: a colon or a line break"},
	{"BaseImage", `{accounts: {users: [{name: a, uid: 1, gid: 1, home: "/a:b"}]}}`, "spec.accounts.users[0].home: want an absolute path without colons"},
	{"BaseImage", `{accounts: {users: [{name: a, uid: -1, gid: 1}]}}`, "spec.accounts.users[0].uid: Invalid value: -1"},
	{"BaseImage", `{accounts: {users: [{name: a, gid: 1}]}}`, "spec.accounts.users[0].uid: Required value"},
	{"BaseImage", `{archive: {keyring: a.gpg, keys: "-----BEGIN PGP PUBLIC KEY BLOCK-----"}}`, "spec.archive: want keyring or keys, not both"},
	{"BaseImage", `{archive: {mirrors: {sid: /srv}}}`, "spec.archive: a mirror is for a suite that suites does not name"},
	{"BaseImage", `{archive: {components: ["ma in"]}}`, "spec.archive.components[0]: want a name of the archive's"},
	{"BaseImage", `{archive: {keyring: /etc/shadow}}`, "spec.archive.keyring: want a path below the folder of parts"},
	{"BaseImage", `{archive: {keyring: keys/../../x}}`, "spec.archive.keyring: want a path below the folder of parts"},
	{"BaseImage", `{archive: {keys: "-----BEGIN PGP PRIVATE KEY BLOCK-----"}}`, "spec.archive.keys: want public keys as gpg --armor --export writes them"},
	{"BaseImage", `{archive: {mirror: deb.example.com}}`, "spec.archive.mirror: want an http, https or file address"},
	{"BaseImage", `{archive: {suites: []}}`, "spec.archive.suites: Invalid value: 0"},
	{"BaseImage", `{archive: {suites: [a, a]}}`, `spec.archive.suites[1]: Duplicate value: "a"`},
	{"BaseImage", `{environment: {A-B: c}}`, "spec.environment: want names of letters, digits and underscores"},
	{"BaseImage", `{packages: ["openssl (~ 3)"]}`, "spec.packages[0]: want openssl, openssl (>= 3.5) or openssl=3.5.1-1"},
	{"BaseImage", `{paths: [{path: /a, type: symlink}]}`, "spec.paths[0]: a link needs a target"},
	{"BaseImage", `{paths: [{path: /a, type: file, target: /b}]}`, "spec.paths[0]: a link needs a target, and nothing else has one"},
	{"BaseImage", `{paths: [{path: /a, type: directory, content: x}]}`, "spec.paths[0]: only files have content"},
	{"BaseImage", `{paths: [{path: /a, type: symlink, target: b, mode: "0755"}]}`, "spec.paths[0]: a link has no mode of its own"},
	{"BaseImage", `{paths: [{path: /a, type: directory, capabilities: cap_chown+ep}]}`, "spec.paths[0]: only files carry capabilities"},
	{"BaseImage", `{paths: [{path: /var/lib/dpkg/status.d/x, type: file}]}`, "spec.paths[0]: the inventory below /var/lib/dpkg"},
	{"BaseImage", `{paths: [{path: /a, type: file, mode: "0855"}]}`, "spec.paths[0].mode: want octal digits in quotes"},
	{"BaseImage", `{tag: "https://registry.example.com/run:1"}`, "spec.tag: want a tag such as shop:1"},
	{"BaseImage", `{update: {interval: 1ms}}`, "spec.update.interval: want a time of at least 1s"},
	{"BaseImage", `{workingDirectory: srv}`, "spec.workingDirectory: want an absolute path"},
	{"BaseImage", `{layering: {maxLayers: 61}}`, "spec.layering.maxLayers: Invalid value: 61"},

	{"Build", `{image: {name: A_b}}`, "spec.image.name: want the name of a resource"},
	{"Build", `{reasons: []}`, "spec.reasons: Invalid value: 0"},
	{"Build", `{method: Guess}`, `spec.method: Unsupported value: "Guess"`},

	{"Builder", `{build: {image: "https://x/y"}}`, "spec.build.image: want an image such as run:1"},
	{"Builder", `{build: {trust: " "}}`, "spec.build.trust: say why"},
	{"Builder", `{lifecycle: {image: "lifecycle:1"}}`, "spec.lifecycle: want either a path or an image"},
	{"Builder", `{lifecycle: {path: null}}`, "spec.lifecycle: want either a path or an image"},
	{"Builder", `{buildpacks: [{path: ../../bin}]}`, "spec.buildpacks[0].path: want a path below the folder of parts"},
	{"Builder", `{environment: {"": c}}`, "spec.environment: want names of letters, digits and underscores"},
	{"Builder", `{order: [{group: [{id: "a b"}]}]}`, "spec.order[0].group[0].id: want a buildpack's id"},
	{"Builder", `{order: [{group: [{id: a, version: "1 2"}]}]}`, "spec.order[0].group[0].version: want a version"},
	{"Builder", `{order: [{group: [{id: a}, {id: a}]}]}`, "spec.order[0].group[1]: Duplicate value"},
	{"Builder", `{run: [{image: run:1, buildpacks: [a]}]}`, "spec.run: the first is the default"},
	{"Builder", `{run: [{image: run:1}, {image: run:2}]}`, "spec.run: name the buildpacks that each but the first is for"},
	{"Builder", `{tag: "a@sha256:0000000000000000000000000000000000000000000000000000000000000000"}`, "spec.tag: want a tag such as shop:1"},
	{"Builder", `{architectures: [x86_64]}`, `spec.architectures[0]: Unsupported value: "x86_64"`},

	{"DependencyOverride", `{package: "a b"}`, "spec: want a package of npm"},
	{"DependencyOverride", `{ecosystem: Go, version: v1.0.0, package: "../x"}`, "spec: want the path of a Go module"},
	{"DependencyOverride", `{ecosystem: PyPI, package: "a/b"}`, "spec: want a package of PyPI"},
	{"DependencyOverride", `{ecosystem: Go, package: a.example/b, version: 1.0.0}`, "spec: a version of a Go module begins with v"},
	{"DependencyOverride", `{advisories: ["CVE 1"]}`, "spec.advisories[0]: want one word without spaces"},
	{"DependencyOverride", `{reason: ""}`, "spec.reason: say why"},
	{"DependencyOverride", `{scope: {except: ["a**b"]}}`, "spec.scope.except[0]: want a pattern"},
	{"DependencyOverride", `{version: ">=4"}`, "spec.version: want one version"},

	{"Image", `{tag: Shop}`, "spec.tag: want a tag such as shop:1"},
	{"Image", `{additionalTags: ["a b"]}`, "spec.additionalTags[0]: want a tag such as shop:1"},
	{"Image", `{builder: {name: -a}}`, "spec.builder.name: want the name of a resource"},
	{"Image", `{build: {buildpacks: ["a b"]}}`, "spec.build.buildpacks[0]: want a buildpack of the builder"},
	{"Image", `{build: {process: "a b"}}`, "spec.build.process: want a type of process"},
	{"Image", `{build: {runImage: ":1"}}`, "spec.build.runImage: want an image such as run:1"},
	{"Image", `{build: {timeout: 1s}}`, "spec.build.timeout: want a time of at least 1m"},
	{"Image", `{build: {env: [{name: A}, {name: A}]}}`, "spec.build.env[1]: Duplicate value"},
	{"Image", `{cache: {image: cache:1, disabled: true}}`, "spec.cache: want an image for the cache, or none at all"},
	{"Image", `{source: {git: null}}`, "spec.source: want one of git, archive and artifact"},
	{"Image", `{source: {artifact: {image: a}}}`, "spec.source: want one of git, archive and artifact"},
	{"Image", `{source: {git: null, archive: {url: "https://a.example.com/a.tgz", checksum: "sha256:0"}}}`, "spec.source.archive.checksum: want sha256: and 64 hexadecimal digits"},
	{"Image", `{source: {git: null, archive: {url: "file:///etc/passwd"}}}`, "spec.source.archive.url: want an https address"},
	{"Image", `{source: {git: null, archive: {url: "https://ann:secret@a.example.com/a.tgz"}}}`, "spec.source.archive.url: take the login out of the address"},
	{"Image", `{source: {git: {revision: --upload-pack=x}}}`, "spec.source.git.revision: want a branch, a tag or a commit"},
	{"Image", `{source: {git: {revision: a..b}}}`, "spec.source.git.revision: want a branch, a tag or a commit"},
	{"Image", `{source: {git: {url: --upload-pack=x}}}`, "spec.source.git.url: want an address as git clone takes it"},
	{"Image", `{source: {git: {url: "ext::sh -c x"}}}`, "spec.source.git.url: want an address as git clone takes it"},
	{"Image", `{source: {git: {url: "git://git.example.com/x"}}}`, "spec.source.git.url: want an address as git clone takes it"},
	{"Image", `{source: {git: {url: "ssh://-oProxyCommand=x/y"}}}`, "spec.source.git.url: want an address as git clone takes it"},
	{"Image", `{source: {git: {url: "https://token@git.example.com/x"}}}`, "spec.source.git.url: take the login out of the address"},
	{"Image", `{source: {git: {url: "ssh://ann:secret@git.example.com/x"}}}`, "spec.source.git.url: take the login out of the address"},
	{"Image", `{source: {git: {url: "https://git.example.com/x#main"}}}`, "spec.source.git.url: put the branch, tag or commit into revision"},
	{"Image", `{source: {subpath: ../x}}`, "spec.source.subpath: want a folder of the source"},
	{"Image", `{source: {subpath: /x}}`, "spec.source.subpath: want a folder of the source"},
	{"Image", `{triggers: {interval: 1ms}}`, "spec.triggers.interval: want a time of at least 1s"},
	{"Image", `{history: {failed: 0}}`, "spec.history.failed: Invalid value: 0"},

	{"ImageImport", `{credentials: {username: a, password: /etc/shadow}}`, "spec.credentials.password: say where the password is"},
	{"ImageImport", `{credentials: {username: a, password: a/../../b}}`, "spec.credentials.password: say where the password is"},
	{"ImageImport", `{destination: {repository: registry.example.com/app}}`, "spec.destination.repository: want a repository of this registry"},
	{"ImageImport", `{destination: {tag: "{version}"}}`, "spec.destination.tag: want a tag in which {tag} and {digest} stand for theirs"},
	{"ImageImport", `{limits: {bytes: "4e9"}}`, "spec.limits.bytes: want a size"},
	{"ImageImport", `{limits: {bytes: "0"}}`, "spec.limits.bytes: want a size"},
	{"ImageImport", `{platforms: [amd64]}`, "spec.platforms[0]: want os/architecture"},
	{"ImageImport", `{schedule: {cron: "0 3 * * *", every: 6h}}`, "spec.schedule: want cron or every, not both"},
	{"ImageImport", `{schedule: {cron: "@daily"}}`, "spec.schedule.cron: want minute, hour, day, month and weekday"},
	{"ImageImport", `{schedule: {every: 1s}}`, "spec.schedule.every: want a time of at least 1m"},
	{"ImageImport", `{source: app}`, "spec.source: want a registry's host and a path"},
	{"ImageImport", `{source: "registry.example.com/app:1"}`, "spec.source: want a registry's host and a path"},
	{"ImageImport", `{tags: {names: null}}`, "spec.tags: say which tags"},
	{"ImageImport", `{tags: {names: ["a b"]}}`, "spec.tags.names[0]: want a tag"},
	{"ImageImport", `{tags: {patterns: [a/b]}}`, "spec.tags.patterns[0]: want a pattern of tags, such as 1.27*"},
	{"ImageImport", `{tags: {except: [a/b]}}`, "spec.tags.except[0]: want a pattern of tags, such as *-alpine"},
	{"ImageImport", `{verify: {want: [signature]}}`, "spec.verify: say who signs images"},
	{"ImageImport", `{verify: {keys: [/etc/x]}}`, "spec.verify.keys[0]: want a path without a slash in front"},
	{"ImageImport", `{verify: {identities: [{issuer: a, issuerRegexp: b, subject: c}]}}`, "spec.verify.identities[0]: want one of issuer and issuerRegexp"},
	{"ImageImport", `{verify: {keys: [a], root: /x}}`, "spec.verify.root: want a path below the folder of parts"},
	{"ImageImport", `{verify: {keys: [a], want: ["a b"]}}`, "spec.verify.want[0]: want one word without spaces"},

	{"ImagePolicy", `{gates: {registry: null}}`, "spec: neither the policy nor each of its rules names a gate"},
	{"ImagePolicy", `{gates: {registry: block}}`, `spec.gates.registry: Unsupported value: "block"`},
	{"ImagePolicy", `{matchConditions: [{name: "a b", expression: "true"}]}`, "spec.matchConditions[0].name: want letters, digits and underscores"},
	{"ImagePolicy", `{rules: [{name: a, title: a, reason: a, expression: a, message: b, messageExpression: c}]}`, "spec.rules[0]: want message or messageExpression, not both"},
	{"ImagePolicy", `{rules: [{name: a, title: a, reason: a, expression: a, remedy: b, remedyExpression: c}]}`, "spec.rules[0]: want remedy or remedyExpression, not both"},
	{"ImagePolicy", `{rules: [{name: a, title: a, reason: a, expression: a, grace: {period: "0d", since: a}}]}`, "spec.rules[0].grace.period: want a time such as 7d or 36h"},
	{"ImagePolicy", `{rules: [{name: A, title: a, reason: a, expression: a}]}`, "spec.rules[0].name: want lower-case letters, digits and dashes"},
	{"ImagePolicy", `{rules: [{name: a, title: a, reason: "", expression: a}]}`, "spec.rules[0].reason: say why"},
	{"ImagePolicy", `{rules: [{name: a, title: " ", reason: a, expression: a}]}`, "spec.rules[0].title: say what is wanted, in a few words"},
	{"ImagePolicy", `{rules: [{name: a, title: a, reason: a, expression: a}, {name: a, title: a, reason: a, expression: a}]}`, "spec.rules[1]: Duplicate value"},
	{"ImagePolicy", `{scope: {repositories: [a//b]}}`, "spec.scope.repositories[0]: want a pattern"},

	{"Patch", `{maxFailures: many}`, "spec.maxFailures: want a number, or a percentage"},
	{"Patch", `{maxFailures: -1}`, "spec.maxFailures: "},
	{"Patch", `{scope: {repositories: ["**a"]}}`, "spec.scope.repositories[0]: want a pattern"},
	{"Patch", `{target: {all: null}}`, "spec.target: say what is to be fixed"},
	{"Patch", `{target: {advisories: ["CVE 1"]}}`, "spec.target.advisories[0]: want one word without spaces"},
	{"Patch", `{target: {bases: ["run 1"]}}`, "spec.target.bases[0]: want an image such as run:1"},
	{"Patch", `{tests: [{name: a}]}`, "spec.tests[0]: want either a command or http"},
	{"Patch", `{tests: [{name: a, http: {path: healthz}}]}`, "spec.tests[0].http.path: want a path, such as /healthz"},
	{"Patch", `{tests: [{name: A, http: {}}]}`, "spec.tests[0].name: want lower-case letters, digits and dashes"},
	{"Patch", `{tests: [{name: a, http: {}, timeout: 1ms}]}`, "spec.tests[0].timeout: want a time of at least 1s"},
	{"Patch", `{waves: [{name: a, share: 0}]}`, "spec.waves[0].share: "},
	{"Patch", `{waves: [{name: a, share: half}]}`, "spec.waves[0].share: want a number of images"},
	{"Patch", `{waves: [{name: a, soak: day}]}`, "spec.waves[0].soak: want a time, such as 30m or 24h"},
	{"Patch", `{waves: [{name: a}, {name: a}]}`, "spec.waves[1]: Duplicate value"},
	{"Patch", `{windows: [{start: "0 22 * * *", duration: 1s}]}`, "spec.windows[0].duration: want a time of at least 1m"},
	{"Patch", `{windows: [{start: "22:00", duration: 1h}]}`, "spec.windows[0].start: want minute, hour, day, month and weekday"},
	{"Patch", `{windows: [{start: "0 22 * * *", duration: 1h, timeZone: "../x"}]}`, "spec.windows[0].timeZone: want a zone of the IANA database"},

	{"PolicyException", `{scope: {repositories: []}}`, "spec: say for which images"},
	{"PolicyException", `{digests: ["sha256:0"]}`, "spec.digests[0]: want sha256: and 64 hexadecimal digits"},
	{"PolicyException", `{findings: ["a b"]}`, "spec.findings[0]: want one word without spaces"},
	{"PolicyException", `{owner: " "}`, "spec.owner: say who answers for it"},
	{"PolicyException", `{reason: ""}`, "spec.reason: say why"},
	{"PolicyException", `{rules: [no-root]}`, "spec.rules[0]: want POLICY/RULE"},
	{"PolicyException", `{expires: null}`, "spec.expires: Required value"},
	{"PolicyException", `{scope: {namespaces: ["a**"]}}`, "spec.scope.namespaces[0]: want a pattern"},
}

// testRules breaks every rule of every kind: a user sees the field and what to do.
func (b *bed) testRules(t *testing.T) {
	seen := map[string]map[string]bool{}
	for _, tt := range brokenRules {
		t.Run(tt.kind+" "+tt.spec, func(t *testing.T) {
			var fields map[string]any
			if err := yaml.UnmarshalStrict([]byte(tt.spec), &fields); err != nil {
				t.Fatal(err)
			}
			o := least(t, tt.kind)
			o.Object["spec"] = merged(o.Object["spec"].(map[string]any), fields)
			err := b.client.Create(t.Context(), o, client.DryRunAll)
			if err == nil {
				t.Fatal("it passed")
			}
			got := problems(err)
			if !slices.ContainsFunc(got, func(p string) bool { return strings.HasPrefix(p, tt.says) }) {
				t.Errorf("want %s\n got %s", tt.says, strings.Join(got, "\n     "))
			}
			if strings.Contains(err.Error(), "secret@") {
				t.Error("it tells a password")
			}
			if seen[tt.kind] == nil {
				seen[tt.kind] = map[string]bool{}
			}
			for _, p := range got {
				_, message, _ := strings.Cut(p, ": ")
				seen[tt.kind][message] = true
			}
		})
	}
	for kind, messages := range allMessages(t) {
		for _, message := range messages {
			if !seen[kind][message] {
				t.Errorf("no case breaks the rule of %s that says %q", kind, message)
			}
		}
	}
}

// allMessages gives, by kind, those of rules that one look at a resource can break; what needs two
// is in changes_test.go, and what is wrong with a name, too.
func allMessages(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, d := range definitions(t) {
		messages := map[string]bool{}
		collect(d.Spec.Versions[0].Schema.OpenAPIV3Schema, messages)
		out[d.Spec.Names.Kind] = slices.Sorted(maps.Keys(messages))
	}
	return out
}

func collect(s *apiextensions.JSONSchemaProps, into map[string]bool) {
	for _, rule := range s.XValidations {
		if !strings.Contains(rule.Rule, "oldSelf") && !strings.Contains(rule.Rule, "self.metadata") {
			into[rule.Message] = true
		}
	}
	for _, below := range s.Properties {
		collect(&below, into)
	}
	if s.Items != nil && s.Items.Schema != nil {
		collect(s.Items.Schema, into)
	}
}
