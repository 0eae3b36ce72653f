package program

import (
	"archive/zip"
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/executor/pod"
)

// shopImages are the Images: each is a folder of the repository. ferry is old, the others are the
// example applications.
var shopImages = []string{"go", "nodejs", "python", "static", "ferry"}

// shopBases are what they stand on.
var shopBases = []string{"run", "node20", "python3", "web"}

// TestControlPlane runs a control plane on a node of real pods, and takes it from nothing through
// every change that it is there for. One side builds on the one before.
func TestControlPlane(t *testing.T) {
	c := newControl(t, "--node", "--parallel", "3")
	c.inherit("../inventory/sqlite/testdata/schema-2.sql")
	c.start()
	for _, side := range []struct {
		name string
		look func(*control)
	}{
		{"what an older version knew is known", knowsOld},
		{"applications in git become images, built in pods", builtInPods},
		{"an image runs as a pod", runsAsPod},
		{"a commit builds the image of its folder", followsCommit},
		{"a policy denies what stands on an old base", deniesOld},
		{"a fixed base reaches all images", followsBase},
		{"an advisory for a dependency is answered by an override", followsAdvisory},
		{"a stricter policy changes verdicts", followsPolicy},
		{"all is kept over a restart", outlastsRestart},
		{"nothing happens by itself", restsByItself},
		{"killed anywhere, it ends the same", outlastsKills},
	} {
		if !t.Run(side.name, func(t *testing.T) { side.look(c.in(t)) }) {
			return
		}
	}
}

// inherit gives the home an inventory that an older version has left.
func (c *control) inherit(dump string) {
	c.t.Helper()
	text, err := os.ReadFile(dump)
	if err != nil {
		c.t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(c.home, "inventory.db"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(c.t.Context(), string(text)); err != nil {
		c.t.Fatal(err)
	}
}

func knowsOld(c *control) {
	if known := c.plimsoll("query", "what contains openssl < 3.5.1-1+deb13u1"); !strings.Contains(known, "registry.example/shop:1.0") {
		c.t.Errorf("the inventory answers %s", known)
	}
}

func builtInPods(c *control) {
	c.applyBuildBase()
	for _, base := range shopBases {
		c.applyBefore(base)
	}
	c.applyFile("examples/control-plane/builder.yaml")
	c.applyFile("examples/control-plane/images.yaml", "REPOSITORY", c.repo.url)
	c.apply(strings.NewReplacer("REPOSITORY", c.repo.url).Replace(`
apiVersion: plimsoll.dev/v1alpha1
kind: Image
metadata: {name: ferry, namespace: shop}
spec:
  tag: shop/ferry:1
  builder: {name: builder}
  source:
    git: {url: REPOSITORY}
    subpath: ferry
  triggers: {interval: 5s}
`))
	c.eventually(builtWithin, "every Image is built", func() error { return c.settled(shopImages...) })
	for _, name := range shopImages {
		all, err := c.builds(name)
		if err != nil || len(all) != 1 {
			c.t.Fatalf("%s has %d Builds, %v, want 1", name, len(all), err)
		}
		b := all[0]
		if b.Spec.Method != v1alpha1.MethodBuild || b.Status.Phase != v1alpha1.BuildSucceeded || len(b.Status.Buildpacks) == 0 || len(b.Status.Steps) == 0 {
			c.t.Errorf("%s: %+v", b.Name, b)
		}
	}
	c.verified(shopImages...)
	var events corev1.EventList
	if err := c.api.List(c.t.Context(), &events, client.InNamespace(pod.DefaultNamespace)); err != nil {
		c.t.Fatal(err)
	}
	ran := map[string]bool{}
	for _, e := range events.Items {
		if e.Reason == "Started" {
			ran[e.InvolvedObject.Name] = true
		}
	}
	if len(ran) < len(shopImages) {
		c.t.Errorf("%d pods ran for %d Builds", len(ran), len(shopImages))
	}
	c.noSteps()
}

// applyBuildBase declares the example's base for build steps without what builds Java and C++, which
// is half of what the node pulls.
func (c *control) applyBuildBase() {
	c.t.Helper()
	c.applyFile("examples/bases/build.yaml", "    - openjdk-21-jdk-headless\n", "", "    - g++\n", "",
		"    - package: ca-certificates-java\n      reason: only fills the trust store from its maintainer scripts; it is made without them\n", "")
}

// applyBefore declares an example base as it was before a fix. A resource has no file beside it:
// the keys stand in it.
func (c *control) applyBefore(base string) {
	c.t.Helper()
	file := before(c.t, base)
	text, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	binary, err := os.ReadFile(filepath.Join(filepath.Dir(file), "keyring.gpg"))
	if err != nil {
		c.t.Fatal(err)
	}
	var keys bytes.Buffer
	w, err := armor.Encode(&keys, "PGP PUBLIC KEY BLOCK", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := w.Write(binary); err != nil {
		c.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		c.t.Fatal(err)
	}
	spec := strings.Replace(string(text), "  architectures: [amd64, arm64]\n", "", 1)
	if c.archive != "" {
		spec = regexp.MustCompile(`mirrors: \{before: .*\}`).ReplaceAllString(spec, "mirrors: {before: \""+c.archive+"\"}")
	}
	lines := strings.Split(spec, "\n")
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "    keyring:") })
	if at < 0 {
		c.t.Fatalf("scripts/before names no keyring:\n%s", text)
	}
	lines[at] = "    keys: |\n      " + strings.ReplaceAll(keys.String(), "\n", "\n      ")
	c.apply(strings.Join(lines, "\n"))
}

// noSteps waits until no pod of a step is left.
func (c *control) noSteps() {
	c.t.Helper()
	c.eventually(changedWithin, "no pod of a step is left", func() error {
		var pods corev1.PodList
		if err := c.api.List(c.t.Context(), &pods, client.InNamespace(pod.DefaultNamespace)); err != nil {
			return err
		}
		if n := len(pods.Items); n > 0 {
			return fmt.Errorf("%d are, %s is one", n, pods.Items[0].Name)
		}
		return nil
	})
}

func runsAsPod(c *control) {
	c.runPod("before", "go")
	c.serves("before")
}

// serves waits until a pod of the application in Go answers.
func (c *control) serves(name string) {
	c.t.Helper()
	c.eventually(changedWithin, "the pod answers", func() error {
		p, err := c.pod(name)
		if err != nil {
			return err
		}
		if p.Status.Phase != corev1.PodRunning || p.Status.PodIP == "" {
			return fmt.Errorf("it is %s: %+v", p.Status.Phase, p.Status.ContainerStatuses)
		}
		response, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + net.JoinHostPort(p.Status.PodIP, "8080") + "/")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err == nil && (response.StatusCode != http.StatusOK || !strings.Contains(string(body), "chi")) {
			err = fmt.Errorf("it answers %s %s", response.Status, body)
		}
		return err
	})
}

// runPod runs a pod of what the tag of an Image names, pulled from the control plane's registry.
func (c *control) runPod(name, image string) {
	c.t.Helper()
	soon := int64(1)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: name},
		Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &soon, Containers: []corev1.Container{{
			Name: "app", Image: c.up.state.Registry + "/" + shop + "/" + image + ":1", ImagePullPolicy: corev1.PullAlways,
			Env: []corev1.EnvVar{{Name: "PORT", Value: "8080"}},
		}}},
	}
	if err := c.api.Create(c.t.Context(), p); err != nil {
		c.t.Fatal(err)
	}
}

func (c *control) pod(name string) (*corev1.Pod, error) {
	var p corev1.Pod
	err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: shop, Name: name}, &p)
	return &p, err
}

func followsCommit(c *control) {
	was, counts := c.repo.touched["static"], c.counts()
	is := c.repo.say("Closed on Sundays.")
	counts["static"]++
	c.eventually(builtWithin, "the Image is of the commit", func() error { return c.settled(shopImages...) })
	b := c.lastBuild("static")
	want := []v1alpha1.BuildReason{{Type: v1alpha1.ReasonCommit, Was: was, Is: is}}
	if diff := cmp.Diff(want, b.Spec.Reasons); diff != "" || b.Spec.Method != v1alpha1.MethodBuild {
		c.t.Errorf("%s is a %s because of %s", b.Name, b.Spec.Method, diff)
	}
	c.eventually(changedWithin, "every Image has heard of the commit", func() error {
		for _, name := range shopImages {
			if i, err := c.image(name); err != nil || i.Status.Source.Revision != is {
				return fmt.Errorf("%s knows of %s, %v", name, i.Status.Source.Revision, err)
			}
		}
		return nil
	})
	if diff := cmp.Diff(counts, c.counts()); diff != "" {
		c.t.Errorf("other Images were built, too: %s", diff)
	}
}

func deniesOld(c *control) {
	c.apply("apiVersion: plimsoll.dev/v1alpha1\nkind: AdvisoryFeed\nmetadata: {name: debian}\nspec: {kind: debian, interval: 1h}\n")
	c.fed("debian")
	c.apply(strings.ReplaceAll(c.plimsoll("policy", "add", "baseline", "--show"), "period: 30d", "period: 7d"))
	c.verdicts("deny", "zlib1g")
	c.runPod("denied", "go")
	c.eventually(changedWithin, "the node does not get the image", func() error {
		p, err := c.pod("denied")
		if err != nil {
			return err
		}
		for _, s := range p.Status.ContainerStatuses {
			if s.State.Waiting != nil && strings.Contains(s.State.Waiting.Message, "403") {
				return nil
			}
		}
		return fmt.Errorf("%+v", p.Status.ContainerStatuses)
	})
	p, err := c.pod("denied")
	if err == nil {
		err = c.api.Delete(c.t.Context(), p)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// fed waits until the advisories of a feed are there.
func (c *control) fed(name string) {
	c.t.Helper()
	c.eventually(changedWithin, "the advisories are there", func() error {
		var feed v1alpha1.AdvisoryFeed
		if err := c.api.Get(c.t.Context(), client.ObjectKey{Name: name}, &feed); err != nil {
			return err
		}
		return ready(feed.Generation, &feed.Status.Status)
	})
}

// verdicts waits until the policies say the same of all Images.
func (c *control) verdicts(action, why string) {
	c.t.Helper()
	c.eventually(changedWithin, "every verdict is "+action, func() error {
		for _, name := range shopImages {
			if err := c.verdict(name, action, why); err != nil {
				return err
			}
		}
		return nil
	})
}

func followsBase(c *control) {
	counts := c.counts()
	before, err := c.bases()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, base := range shopBases {
		c.applyFile("examples/bases/" + base + ".yaml")
	}
	c.eventually(builtWithin, "every Image stands on the fixed base", func() error {
		now, err := c.bases()
		if err != nil {
			return err
		}
		for _, base := range shopBases {
			if now[base+":1"] == before[base+":1"] {
				return fmt.Errorf("base %s has not changed", base)
			}
		}
		return c.settled(shopImages...)
	})
	for _, name := range shopImages {
		i, err := c.image(name)
		if err != nil || len(i.Status.Rebases) != 1 {
			c.t.Fatalf("%s tells of the rebases %+v, %v", name, i.Status.Rebases, err)
		}
		r := i.Status.Rebases[0]
		if r.Digest != i.Status.LatestImage.Digest || len(r.Reasons) != 1 || r.Reasons[0].Type != v1alpha1.ReasonBase || !strings.Contains(r.Reasons[0].Detail, "zlib1g ") {
			c.t.Errorf("%s was rebased as %+v", name, r)
		}
		if r.Number != counts[name]+1 || i.Status.Builds != r.Number || c.lastBuild(name).Spec.Number != counts[name] {
			c.t.Errorf("%s has had %d builds and rebases, and %d before", name, i.Status.Builds, counts[name])
		}
	}
	c.verdicts("warn", "malware") // nobody scans here
	c.verified(shopImages...)
	c.runPod("after", "go")
	c.serves("after")
}

// followsAdvisory publishes an advisory for one of the ferry's dependencies, and then raises that.
func followsAdvisory(c *control) {
	digests, folder := c.digests(), c.t.TempDir()
	c.publish(folder)
	c.apply("apiVersion: plimsoll.dev/v1alpha1\nkind: AdvisoryFeed\nmetadata: {name: osv}\nspec: {kind: osv, url: \"file://" + folder + "\", ecosystems: [npm], interval: 1h}\n")
	c.eventually(changedWithin, "the ferry is denied", func() error { return c.verdict("ferry", "deny", "lodash") })
	c.apply(`
apiVersion: plimsoll.dev/v1alpha1
kind: DependencyOverride
metadata: {name: lodash}
spec:
  ecosystem: npm
  package: lodash
  version: 4.17.21
  reason: prototype pollution
  advisories: [CVE-2020-8203]
  scope: {repositories: [shop/*]}
`)
	c.eventually(builtWithin, "the ferry is built with the override", func() error {
		if err := c.settled(shopImages...); err != nil {
			return err
		}
		if i, err := c.image("ferry"); err != nil || i.Status.Inputs.Overrides == "" {
			return fmt.Errorf("it was made without overrides, %v", err)
		}
		return c.verdict("ferry", "warn", "malware")
	})
	b := c.lastBuild("ferry")
	if b.Spec.Method != v1alpha1.MethodBuild || b.Spec.Reasons[0].Type != v1alpha1.ReasonAdvisory || !strings.Contains(b.Spec.Reasons[0].Detail, "lodash") {
		c.t.Errorf("%s is a %s because of %+v", b.Name, b.Spec.Method, b.Spec.Reasons)
	}
	var bill struct {
		Packages []struct{ Type, Name, Version string }
	}
	if err := json.Unmarshal([]byte(c.plimsoll("sbom", "shop/ferry:1", "-o", "json")), &bill); err != nil {
		c.t.Fatal(err)
	}
	var versions []string
	for _, p := range bill.Packages {
		if p.Type == "npm" && p.Name == "lodash" {
			versions = append(versions, p.Version)
		}
	}
	if diff := cmp.Diff([]string{"4.17.21"}, versions); diff != "" {
		c.t.Errorf("the bill of materials names lodash: %s", diff)
	}
	c.verified("ferry")
	now := c.digests()
	delete(now, "ferry")
	delete(digests, "ferry")
	if diff := cmp.Diff(digests, now); diff != "" {
		c.t.Errorf("an override that concerns none of their packages made others: %s", diff)
	}
}

// publish makes an OSV export of one advisory in the folder.
func (c *control) publish(folder string) {
	c.t.Helper()
	record := `{"schema_version":"1.6.0","id":"CVE-2020-8203","modified":"2020-07-15T00:00:00Z","published":"2020-07-15T00:00:00Z",
		"summary":"Prototype pollution in lodash","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:N/I:H/A:H"}],
		"affected":[{"package":{"ecosystem":"npm","name":"lodash"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"4.17.20"}]}]}]}`
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	w, err := archive.Create("CVE-2020-8203.json")
	if err == nil {
		_, err = io.WriteString(w, record)
	}
	if err = errors.Join(err, archive.Close(), os.MkdirAll(filepath.Join(folder, "npm"), 0o755)); err == nil {
		err = os.WriteFile(filepath.Join(folder, "npm", "all.zip"), out.Bytes(), 0o644)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func followsPolicy(c *control) {
	c.apply(`
apiVersion: plimsoll.dev/v1alpha1
kind: ImagePolicy
metadata: {name: strict}
spec:
  gates: {registry: deny}
  rules:
    - {name: no-lighttpd, title: No web server of its own, reason: The gateway serves files., expression: "!packages.exists(p, p.name == 'lighttpd')"}
`)
	c.eventually(changedWithin, "what the policy speaks of is denied, and nothing else", func() error {
		errs := []error{c.verdict("static", "deny", "No web server of its own")}
		for _, name := range shopImages {
			if name != "static" {
				errs = append(errs, c.verdict(name, "warn", "malware"))
			}
		}
		return errors.Join(errs...)
	})
	c.plimsoll("kubectl", "delete", "imagepolicy", "strict")
	c.verdicts("warn", "malware")
}

// restsByItself waits until the source was asked twice more, and finds that nobody has written.
func restsByItself(c *control) {
	before, asked := c.written(), c.repo.asked.Load()
	c.eventually(changedWithin, "the source is asked twice more", func() error {
		if n := c.repo.asked.Load() - asked; n < 2 {
			return fmt.Errorf("it was asked %d times", n)
		}
		return nil
	})
	if diff := cmp.Diff(before, c.written()); diff != "" {
		c.t.Errorf("something was written: %s", diff)
	}
}

// written gives the version of each base, builder, Image and Build.
func (c *control) written() map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for _, list := range []client.ObjectList{&v1alpha1.BaseImageList{}, &v1alpha1.BuilderList{}, &v1alpha1.ImageList{}, &v1alpha1.BuildList{}} {
		if err := c.api.List(c.t.Context(), list); err != nil {
			c.t.Fatal(err)
		}
		switch list := list.(type) {
		case *v1alpha1.BaseImageList:
			for _, o := range list.Items {
				out["base "+o.Name] = o.ResourceVersion
			}
		case *v1alpha1.BuilderList:
			for _, o := range list.Items {
				out["builder "+o.Name] = o.ResourceVersion
			}
		case *v1alpha1.ImageList:
			for _, o := range list.Items {
				out["image "+o.Name] = o.ResourceVersion
			}
		case *v1alpha1.BuildList:
			for _, o := range list.Items {
				out["build "+o.Name] = o.ResourceVersion
			}
		}
	}
	return out
}

func outlastsRestart(c *control) {
	counts, digests := c.counts(), c.digests()
	c.stop()
	c.nothingMounted()
	c.start()
	c.eventually(changedWithin, "every Image is as it was", func() error { return c.settled(shopImages...) })
	c.verdicts("warn", "malware")
	asked := c.repo.asked.Load()
	c.eventually(changedWithin, "the source is asked twice", func() error {
		if n := c.repo.asked.Load() - asked; n < 2 {
			return fmt.Errorf("it was asked %d times", n)
		}
		return nil
	})
	if diff := cmp.Diff(counts, c.counts()); diff != "" {
		c.t.Errorf("a restart builds: %s", diff)
	}
	if diff := cmp.Diff(digests, c.digests()); diff != "" {
		c.t.Errorf("after a restart other images are there: %s", diff)
	}
	c.serves("before") // started anew, from what the tag names now
}

// digests gives what the tag of each Image names.
func (c *control) digests() map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for _, name := range shopImages {
		digest, err := c.tagged(name)
		if err != nil {
			c.t.Fatal(err)
		}
		out[name] = digest
	}
	return out
}

// nothingMounted fails when a mount below the home is left on this machine.
func (c *control) nothingMounted() {
	c.t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, c.home) {
			c.t.Errorf("left behind: %s", line)
		}
	}
}
