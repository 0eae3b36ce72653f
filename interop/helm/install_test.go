//go:build install

package helm

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// TestInstall takes the way of docs/kubernetes.md on a real cluster: Plimsoll's own image is built
// from this repository and admitted by its own policy, the chart installs it, a leader is killed,
// images are declared with kubectl alone, the release is upgraded and taken away.
func TestInstall(t *testing.T) {
	b := newBed(t)
	for _, step := range []struct {
		name string
		do   func(*bed)
	}{
		{"build Plimsoll's own image", ownImage},
		{"install", install},
		{"rights", rights},
		{"the leader is killed", leaderKilled},
		{"declare images", declareImages},
		{"logs", logs},
		{"another base", anotherBase},
		{"upgrade", upgrade},
		{"uninstall", uninstall},
	} {
		if !t.Run(step.name, func(t *testing.T) {
			in := b.in(t)
			step.do(in)
			b.values = in.values
		}) {
			t.Fatal(b.state())
		}
	}
}

// state tells what is in the cluster, for a test that has failed.
func (b *bed) state() string {
	var all strings.Builder
	for _, args := range [][]string{
		{"get", "baseimages,builders,images,builds,pods", "-A", "-o", "wide"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		{"-n", system, "logs", "deployment/plimsoll-controllers", "--all-pods", "--tail=60"},
	} {
		out, err := b.try(append([]string{"../../bin/kubernetes", "kubectl"}, args...)...)
		all.WriteString(out)
		if err != nil {
			all.WriteString(err.Error())
		}
	}
	return all.String()
}

// ownImage builds Plimsoll with Plimsoll, and has the policy of the site's registry admit it.
func ownImage(b *bed) {
	if err := yaml.Unmarshal([]byte(b.run("../../scripts/images", "plimsoll")), &b.values); err != nil {
		b.t.Fatal(err)
	}
	b.plimsoll("feed", "sync")
	b.plimsoll("policy", "check", "plimsoll/plimsoll:1", "--profile", "baseline")
	b.plimsoll("verify", "plimsoll/plimsoll:1")
	b.plimsoll("policy", "add", "baseline")
}

// projects are those of the site's registry: anybody pulls what the policies let pass. What steps run
// in is signed by nobody, and a project of its own that wants a login: nodes give theirs only if asked.
const projects = `
apiVersion: plimsoll.dev/v1alpha1
kind: Registry
metadata: {name: site}
spec:
  projects:
  - {name: plimsoll, public: true}
  - {name: fleet, public: true}
  - {name: fleet/plimsoll, members: [{robot: fleet/controllers, role: publisher}]}
`

// login makes a robot, and of it a secret by which a namespace logs in to the registry.
func (b *bed) login(namespace, robot string, may ...string) {
	b.t.Helper()
	var made struct{ User, Secret string }
	out := b.plimsoll(append([]string{"registry", "robot", "create", robot, "--expires", "1d", "-o", "json"}, may...)...)
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Secret == "" {
		b.t.Fatalf("%v: %s", err, out)
	}
	b.kubectl("-n", namespace, "create", "secret", "docker-registry", "registry", "--docker-server="+b.host, "--docker-username="+made.User, "--docker-password="+made.Secret)
}

// install installs the chart with all that it needs: keys, a database, certificate authorities, a login.
func install(b *bed) {
	if err := os.WriteFile(filepath.Join(b.home, "registry.yaml"), []byte(projects), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.serveRegistry()
	b.kubectl("create", "namespace", system)
	b.login(system, "fleet/controllers", "--allow", "pull,push")
	b.kubectl("label", "namespace", system, "pod-security.kubernetes.io/enforce=restricted")
	keys := []string{"-n", system, "create", "secret", "generic", "plimsoll-keys"}
	for _, name := range []string{"images.key", "images.pub", "attestations.key", "attestations.pub"} {
		keys = append(keys, "--from-file="+filepath.Join(b.home, "keys", name))
	}
	b.kubectl(keys...)
	b.kubectl("-n", system, "create", "secret", "generic", "plimsoll-inventory", "--from-literal=url="+b.serveDatabase())
	b.kubectl("-n", system, "create", "configmap", "authorities", "--from-file="+b.trust)
	b.values["image"].(map[string]any)["repository"] = b.host + "/plimsoll/plimsoll"
	b.values["publish"] = b.host + "/fleet"
	b.values["registryCredentials"] = "registry"
	b.values["steps"] = map[string]any{"imagePullSecrets": []map[string]string{{"name": "registry"}}}
	b.values["inventory"] = map[string]any{"existingSecret": "plimsoll-inventory"}
	b.values["signing"] = map[string]any{"existingSecret": "plimsoll-keys"}
	b.values["certificates"] = "authorities"
	b.values["archive"] = aptSources(b.t)
	b.values["env"] = []map[string]string{{"name": "GOPROXY", "value": strings.TrimSpace(b.run("go", "env", "GOPROXY"))}}
	b.values["resources"] = map[string]any{"requests": map[string]any{"cpu": "50m", "memory": "128Mi"}}
	b.helm("install", "plimsoll", chart, "--namespace", system, "-f", b.set(), "--wait", "--timeout", "5m")
	b.login("plimsoll-steps", "fleet/plimsoll/nodes", "--allow", "pull,inspect")
	b.until("a replica leads", time.Minute, func() string {
		if b.leader() == "" {
			return "nobody does"
		}
		return ""
	})
}

// aptSources gives the machine's own apt sources, by which this test is to be served, too.
func aptSources(t *testing.T) string {
	found, err := filepath.Glob("/etc/apt/sources.list.d/*.sources")
	if err != nil || len(found) == 0 {
		t.Fatalf("this machine has no apt sources in deb822 form: %v", err)
	}
	var all []string
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(string(text)))
	}
	return strings.Join(all, "\n\n") + "\n"
}

// leader gives the name of the pod that leads.
func (b *bed) leader() string {
	holder := b.kubectl("-n", system, "get", "lease", "controllers.plimsoll.dev", "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
	name, _, _ := strings.Cut(holder, "_")
	return name
}

// rights asks the cluster what the controllers may do.
func rights(b *bed) {
	for _, test := range []struct{ may, what string }{
		{"yes", "list images.plimsoll.dev -A"},
		{"yes", "create builds.plimsoll.dev -n shop"},
		{"yes", "create pods -n plimsoll-steps"},
		{"no", "create images.plimsoll.dev -n shop"},
		{"no", "get secrets -n " + system},
		{"no", "list secrets -A"},
		{"no", "get secrets -n shop"},
		{"no", "get secrets -n plimsoll-steps"},
		{"no", "create pods -n " + system},
		{"no", "create pods -n shop"},
		{"no", "patch deployments.apps -n " + system},
		{"no", "create clusterrolebindings.rbac.authorization.k8s.io"},
		{"no", "patch customresourcedefinitions.apiextensions.k8s.io"},
		{"no", "impersonate users"},
		{"no", "get nodes"},
	} {
		b.may(test.may, test.what)
	}
}

// may holds what the controllers may do against "yes" or "no".
func (b *bed) may(want, what string) {
	b.t.Helper()
	args := []string{"../../bin/kubernetes", "kubectl", "auth", "can-i", "--as=system:serviceaccount:" + system + ":plimsoll-controllers"}
	out, _ := b.try(append(args, strings.Fields(what)...)...) // it exits with 1 for "no"
	if answer := strings.TrimSpace(out); answer != want {
		b.t.Errorf("may the controllers %s? %s, want %s", what, answer, want)
	}
}

// leaderKilled takes the leading pod away without a farewell; the other leads, and a new one stands by.
func leaderKilled(b *bed) {
	first := b.leader()
	b.kubectl("-n", system, "delete", "pod", first, "--grace-period=0", "--force")
	b.until("the other replica leads", 2*time.Minute, func() string {
		if now := b.leader(); now == "" || now == first {
			return now + " does"
		}
		return ""
	})
	b.kubectl("-n", system, "rollout", "status", "deployment/plimsoll-controllers", "--timeout=2m")
}

// declared is what a platform team and a team declare.
const declared = `
apiVersion: plimsoll.dev/v1alpha1
kind: Builder
metadata: {name: go}
spec:
  build: {image: plimsoll-build:1}
  run: [{image: static:1}]
  lifecycle: {path: lifecycle}
  buildpacks: [{path: buildpacks/go}]
  order: [{group: [{id: plimsoll/go}]}]
---
apiVersion: plimsoll.dev/v1alpha1
kind: Image
metadata: {name: harbour, namespace: shop}
spec:
  tag: shop/harbour:1
  builder: {name: go}
  source: {git: {url: REPOSITORY}}
  triggers: {interval: 2s}
`

// declareImages declares bases, a builder and an image from git with kubectl alone. The image is built
// by pods, signed, and built again after a commit.
func declareImages(b *bed) {
	repository := b.serveGit("../../examples/apps/go")
	for _, base := range []string{"static", "plimsoll-build"} {
		text, err := os.ReadFile("../../examples/bases/" + base + ".yaml")
		if err != nil {
			b.t.Fatal(err)
		}
		b.apply(strings.Replace(string(text), "[amd64, arm64]", "[amd64]", 1))
	}
	b.kubectl("create", "namespace", "shop")
	b.login("shop", "fleet/shop", "--allow", "pull,push", "--repositories", "fleet/shop/**")
	b.kubectl("-n", "shop", "patch", "serviceaccount", "default", "-p", `{"imagePullSecrets":[{"name":"registry"}]}`)
	b.kubectl("-n", "shop", "create", "rolebinding", "plimsoll-image-secrets",
		"--clusterrole=plimsoll-image-secrets", "--serviceaccount="+system+":plimsoll-controllers")
	b.apply(strings.Replace(declared, "REPOSITORY", repository, 1))
	b.kubectl("wait", "--for=condition=Ready", "baseimages", "--all", "--timeout=10m")
	b.kubectl("wait", "--for=condition=Ready", "builder/go", "--timeout=5m")
	b.kubectl("-n", "shop", "wait", "--for=condition=Ready", "image/harbour", "--timeout=10m")
	first := b.digest()
	b.plimsoll("verify", b.host+"/fleet/shop/harbour@"+first)

	if err := os.WriteFile(b.path("git/app/new.go"), []byte("package main\n\nfunc init() { println(\"new\") }\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.git("add", "-A")
	b.git("commit", "-q", "-m", "Second")
	b.until("the commit is an image", 5*time.Minute, func() string {
		if now := b.digest(); now == first {
			return "it is still " + now
		}
		return ""
	})
}

// anotherBase changes the base, as a fix in the archive would: the image is rebased, not built.
func anotherBase(b *bed) {
	before := b.digest()
	b.kubectl("patch", "baseimage", "static", "--type=merge", "-p", `{"spec":{"environment":{"TZ":"UTC"}}}`)
	b.until("the image is on the new base", 5*time.Minute, func() string {
		if now := b.digest(); now == before {
			return "it is still " + now
		}
		return ""
	})
	build := b.kubectl("-n", "shop", "get", "image", "harbour", "-o", "jsonpath={.status.latestBuild}")
	if why := b.kubectl("-n", "shop", "get", "build", build, "-o", "jsonpath={.spec.method} {.spec.reasons[*].type}"); why != "Rebase BASE" {
		b.t.Errorf("its last build is %q, want a rebase for its base", why)
	}
	b.plimsoll("verify", b.host+"/fleet/shop/harbour@"+b.digest())
}

func (b *bed) digest() string {
	return b.kubectl("-n", "shop", "get", "image", "harbour", "-o", "jsonpath={.status.latestImage.digest}")
}

// upgrade gives the release other values: all that was declared stays, and no image is built again.
func upgrade(b *bed) {
	before, builds := b.digest(), b.kubectl("-n", "shop", "get", "builds", "-o", "name")
	b.values["parallel"], b.values["imageNamespaces"] = 1, []string{"depot"}
	b.kubectl("create", "namespace", "depot")
	b.helm("upgrade", "plimsoll", chart, "--namespace", system, "-f", b.set(), "--wait", "--timeout", "5m")
	b.until("a new replica leads", 2*time.Minute, func() string {
		pods := b.kubectl("-n", system, "get", "pods", "-o", "name")
		if name := b.leader(); name == "" || !strings.Contains(pods, name) {
			return name + " does"
		}
		return ""
	})
	b.may("yes", "get secrets -n depot")
	if after := b.digest(); after != before {
		b.t.Errorf("the image was %s and is %s", before, after)
	}
	if now := b.kubectl("-n", "shop", "get", "builds", "-o", "name"); now != builds {
		b.t.Errorf("the builds were\n%sand are\n%s", builds, now)
	}
}

// uninstall takes away what runs, and leaves what is declared.
func uninstall(b *bed) {
	before := b.digest()
	b.helm("uninstall", "plimsoll", "--namespace", system, "--wait", "--timeout", "3m")
	if after := b.digest(); after != before {
		b.t.Errorf("the image was %s and is %s", before, after)
	}
	if left := b.kubectl("-n", system, "get", "deployments,services", "-o", "name"); left != "" {
		b.t.Errorf("there is still %s", left)
	}
	if left := b.kubectl("get", "clusterroles", "-o", "name"); strings.Contains(left, "plimsoll") {
		b.t.Errorf("there are still roles: %s", left)
	}
}

// logs has every replica asked for the log of a build, which lies with the one that leads.
func logs(b *bed) {
	b.kubectl("-n", "shop", "create", "serviceaccount", "reader")
	b.kubectl("-n", "shop", "create", "rolebinding", "reader", "--clusterrole=view", "--serviceaccount=shop:reader")
	token := strings.TrimSpace(b.kubectl("-n", "shop", "create", "token", "reader"))
	build := b.kubectl("-n", "shop", "get", "image", "harbour", "-o", "jsonpath={.status.latestBuild}")
	pods := strings.Fields(b.kubectl("-n", system, "get", "pods", "-l", "app.kubernetes.io/name=plimsoll-controllers", "-o", "jsonpath={.items[*].metadata.name}"))
	if len(pods) != 2 {
		b.t.Fatalf("want two replicas, there are %q", pods)
	}
	for _, pod := range pods {
		request, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.forwardTo(pod)+"/logs/shop/"+build, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			b.t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), "go: built") {
			b.t.Errorf("%s (%s leads) answers %s, %v: %s", pod, b.leader(), answer.Status, err, body)
		}
	}
}

// forwardTo gives an address of this machine at which a pod's page is reached while the test runs.
func (b *bed) forwardTo(pod string) string {
	b.t.Helper()
	cmd := b.command(b.t.Context(), "../../bin/kubernetes", "kubectl", "-n", system, "port-forward", "pod/"+pod, ":5080", "--address=127.0.0.1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.t.Fatalf("forward to %s: %v", pod, err)
	}
	at, _, _ := strings.Cut(strings.TrimPrefix(line, "Forwarding from "), " ")
	return "http://" + at
}
