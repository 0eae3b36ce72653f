package program

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// planeBench is a control plane of a home, run by processes of its own.
type planeBench struct {
	b       *testing.B
	home    string
	binary  string
	up      *exec.Cmd
	metrics string // address
	state   cli.UpState
	api     client.Client
	names   map[string][]client.ObjectKey // of Images
}

func newPlaneBench(b *testing.B) *planeBench {
	b.Helper()
	parts, err := filepath.Abs("../../bin")
	must(b, err)
	p := &planeBench{b: b, home: testbed.Home(b), binary: filepath.Join(parts, "plimsoll"), metrics: "127.0.0.1:" + freePort(b), names: map[string][]client.ObjectKey{}}
	b.Setenv("PLIMSOLL_HOME", p.home)
	b.Setenv("PLIMSOLL_KUBERNETES", clustertest.Program(b))
	b.Setenv("DOCKER_CONFIG", b.TempDir())
	b.Setenv("KUBECONFIG", "")
	b.Cleanup(p.stop)
	return p
}

// start starts the control plane, and waits until it says that it is ready.
func (p *planeBench) start() {
	p.b.Helper()
	p.up = exec.Command(p.binary, "up", "-o", "json", "--registry", "127.0.0.1:0", "--page", "127.0.0.1:0", "--metrics", p.metrics)
	log, err := os.Create(filepath.Join(p.home, "up.log"))
	must(p.b, err)
	defer log.Close()
	p.up.Stderr = log
	p.up.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := p.up.StdoutPipe()
	must(p.b, err)
	must(p.b, p.up.Start())
	if err := json.NewDecoder(out).Decode(&p.state); err != nil {
		text, _ := os.ReadFile(log.Name())
		p.b.Fatalf("plimsoll up: %v\n%s", err, text)
	}
	config, err := clientcmd.BuildConfigFromFlags("", p.state.Kubeconfig)
	must(p.b, err)
	p.connect(config)
}

// connect has the benchmark speak to the API.
func (p *planeBench) connect(config *rest.Config) {
	p.b.Helper()
	config.QPS = -1
	scheme, err := controller.Scheme()
	must(p.b, err)
	p.api, err = client.New(config, client.Options{Scheme: scheme})
	must(p.b, err)
}

// stop ends the control plane, if it runs.
func (p *planeBench) stop() {
	if p.up == nil {
		return
	}
	_ = p.up.Process.Signal(syscall.SIGTERM)
	_ = p.up.Wait() // how it ends does not matter here
	p.up = nil
}

// without has the home's Kubernetes run without the controllers meanwhile.
func (p *planeBench) without(do func()) {
	p.b.Helper()
	c, err := cluster.Start(p.b.Context(), clustertest.Program(p.b), filepath.Join(p.home, "kubernetes"), cluster.Options{})
	must(p.b, err)
	p.connect(c.Config())
	do()
	must(p.b, c.Stop(p.b.Context()))
}

// command runs a command of the same home.
func (p *planeBench) command(args ...string) string {
	p.b.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(p.binary, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		p.b.Fatalf("plimsoll %s: %v\n%.2000s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// until waits until nothing is missing.
func (p *planeBench) until(what string, missing func() string) {
	p.b.Helper()
	for deadline := time.Now().Add(20 * time.Minute); ; {
		why := missing()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			p.b.Fatalf("%s: %s", what, why)
		}
		select {
		case <-p.b.Context().Done():
			p.b.Fatalf("%s: %s", what, why)
		case <-time.After(100 * time.Millisecond): // often enough, and no load that counts
		}
	}
}

// base gives an example base for one architecture.
func (p *planeBench) base(name string) *v1alpha1.BaseImage {
	return readBase(p.b, singleArch(p.b, name))
}

// before gives an example base as it was before a fix. A resource has no file beside it: the keys
// stand in it.
func (p *planeBench) before(name string) *v1alpha1.BaseImage {
	p.b.Helper()
	file := before(p.b, name)
	binary, err := os.ReadFile(filepath.Join(filepath.Dir(file), "keyring.gpg"))
	must(p.b, err)
	var keys bytes.Buffer
	w, err := armor.Encode(&keys, "PGP PUBLIC KEY BLOCK", nil)
	must(p.b, err)
	_, err = w.Write(binary)
	must(p.b, err)
	must(p.b, w.Close())
	base := readBase(p.b, oneArch(p.b, file))
	base.Spec.Archive.Keyring, base.Spec.Archive.Keys = "", keys.String()
	return base
}

// buildBase gives the base of build steps without what they need: none runs.
func (p *planeBench) buildBase() *v1alpha1.BaseImage {
	p.b.Helper()
	base, from := p.base("build"), p.base("run")
	base.Spec.Packages, base.Spec.Omit, base.Spec.Exclude = from.Spec.Packages, from.Spec.Omit, from.Spec.Exclude
	return base
}

func readBase(b *testing.B, file string) *v1alpha1.BaseImage {
	b.Helper()
	text, err := os.ReadFile(file)
	must(b, err)
	var base v1alpha1.BaseImage
	must(b, yaml.UnmarshalStrict(text, &base))
	return &base
}

// apply declares bases and waits until they are published.
func (p *planeBench) apply(bases ...*v1alpha1.BaseImage) {
	p.b.Helper()
	for _, base := range bases {
		must(p.b, p.api.Create(p.b.Context(), base))
	}
	for _, base := range bases {
		p.until(base.Name+" is published", func() string {
			must(p.b, p.api.Get(p.b.Context(), client.ObjectKeyFromObject(base), base))
			return unready(base.Generation, &base.Status.Status)
		})
	}
}

// unready says what a condition Ready lacks.
func unready(generation int64, s *v1alpha1.Status) string {
	for _, c := range s.Conditions {
		if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue && c.ObservedGeneration == generation {
			return ""
		}
	}
	return fmt.Sprint(s.Conditions)
}

// builder declares the Builder of all Images and waits until it is there.
func (p *planeBench) builder(build string, run ...string) {
	p.b.Helper()
	var builder v1alpha1.Builder
	builder.Name = "standard"
	builder.Spec = v1alpha1.BuilderSpec{
		Build: v1alpha1.BuildBase{Image: build + ":1"}, Lifecycle: v1alpha1.LifecycleSource{Path: "lifecycle"},
		Buildpacks: []v1alpha1.BuildpackSource{{Path: "buildpacks/nodejs"}},
		Order:      []v1alpha1.OrderGroup{{Group: []v1alpha1.OrderEntry{{ID: "plimsoll/nodejs"}}}},
	}
	for i, name := range run {
		base := v1alpha1.RunBase{Image: name + ":1"}
		if i > 0 {
			base.Buildpacks = []string{"plimsoll/nodejs"}
		}
		builder.Spec.Run = append(builder.Spec.Run, base)
	}
	must(p.b, p.api.Create(p.b.Context(), &builder))
	p.until("the builder is there", func() string {
		must(p.b, p.api.Get(p.b.Context(), client.ObjectKeyFromObject(&builder), &builder))
		return unready(builder.Generation, &builder.Status.Status)
	})
}

// judge takes up advisories and policies.
func (p *planeBench) judge() {
	p.b.Helper()
	feed := &v1alpha1.AdvisoryFeed{ObjectMeta: metav1.ObjectMeta{Name: "debian"}, Spec: v1alpha1.AdvisoryFeedSpec{Kind: "debian"}}
	must(p.b, p.api.Create(p.b.Context(), feed))
	p.until("the advisories are there", func() string {
		must(p.b, p.api.Get(p.b.Context(), client.ObjectKeyFromObject(feed), feed))
		return unready(feed.Generation, &feed.Status.Status)
	})
	var policy v1alpha1.ImagePolicy
	must(p.b, yaml.UnmarshalStrict([]byte(p.command("policy", "add", "baseline", "--show")), &policy))
	must(p.b, p.api.Create(p.b.Context(), &policy))
	p.until("the policy is in force", func() string {
		must(p.b, p.api.Get(p.b.Context(), client.ObjectKeyFromObject(&policy), &policy))
		return unready(policy.Generation, &policy.Status.Status)
	})
}

// images makes n images of three applications on what the base was once, has them put on what it
// is, for all of them to have evidence, and declares them as if they had been built here.
func (p *planeBench) images(name string, n int, base string) {
	p.b.Helper()
	old := p.base(base)
	old.Spec.Environment = map[string]string{"LANG": "C"} // it is another
	text, err := yaml.Marshal(old)
	must(p.b, err)
	file := filepath.Join(p.b.TempDir(), "old.yaml")
	must(p.b, os.WriteFile(file, text, 0o644))
	p.command("base", "build", "-f", file, "-t", base+":0")
	local := &store{root: filepath.Join(p.home, "registry")}
	fleet := newFleet(p.b, &oci.Registries{Local: local.open}, "", base+":0")
	refs := fleet.launchAs(p.b, n, base+":1", func(_, i int) string { return fmt.Sprintf("%s/%s-%d:1", team(i), name, i) })
	local.close()
	list := filepath.Join(p.b.TempDir(), "refs")
	must(p.b, os.WriteFile(list, []byte(strings.Join(refs, "\n")), 0o644))
	began := time.Now()
	done := map[string]string{} // digests, by reference
	results := json.NewDecoder(strings.NewReader(p.command("rebase", "--vouch", "--file", list, "-o", "json")))
	for {
		var r struct{ Ref, To string }
		if err := results.Decode(&r); err == io.EOF {
			break
		} else {
			must(p.b, err)
		}
		done[r.Ref] = r.To
	}
	fmt.Printf("%d images: rebased with evidence by the command line, each in a repository of its own: %.1f images/s\n", n, float64(n)/time.Since(began).Seconds())
	p.without(func() { p.declare(name, refs, done, base) })
}

// teams is how many namespaces there are for Images.
const teams = 20

// team gives the namespace of an Image.
func team(image int) string { return fmt.Sprint("team-", image%teams) }

// declare declares the Images, which are built already.
func (p *planeBench) declare(name string, refs []string, digests map[string]string, base string) {
	p.b.Helper()
	var on v1alpha1.BaseImage
	must(p.b, p.api.Get(p.b.Context(), client.ObjectKey{Name: base}, &on))
	var builder v1alpha1.Builder
	must(p.b, p.api.Get(p.b.Context(), client.ObjectKey{Name: "standard"}, &builder))
	for t := range teams {
		err := p.api.Create(p.b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team(t)}})
		must(p.b, client.IgnoreAlreadyExists(err))
	}
	run := v1alpha1.Published{Image: base + ":1", Digest: on.Status.Published.Digest}
	var group errgroup.Group
	group.SetLimit(16)
	for k, ref := range refs {
		i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: team(k), Name: fmt.Sprint(name, "-", k)}}
		p.names[name] = append(p.names[name], client.ObjectKeyFromObject(i))
		group.Go(func() error { return p.built(i, ref, digests[ref], run, &builder) })
	}
	must(p.b, group.Wait())
}

// built declares an Image that is built.
func (p *planeBench) built(i *v1alpha1.Image, ref, digest string, run v1alpha1.Published, builder *v1alpha1.Builder) error {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	ctx := p.b.Context()
	i.Spec = v1alpha1.ImageSpec{
		Tag: ref, Builder: v1alpha1.ClusterReference{Name: builder.Name},
		Source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "https://git.example.com/" + i.Namespace + "/" + i.Name + ".git", Revision: commit}},
	}
	if err := p.api.Create(ctx, i); err != nil {
		return err
	}
	_, settings := image.Settings(&i.Spec)
	inputs := v1alpha1.BuildInputs{Source: commit, Builder: builder.Status.Published.Digest, Settings: settings, RunImage: run.Image, RunDigest: run.Digest}
	made := image.New(i, 1, v1alpha1.BuildSpec{
		Method: v1alpha1.MethodBuild, Priority: v1alpha1.PriorityCommit, Inputs: inputs,
		Reasons: []v1alpha1.BuildReason{{Type: v1alpha1.ReasonConfig, Is: settings, Detail: "the first build of this Image"}},
	})
	if err := p.api.Create(ctx, made); err != nil {
		return err
	}
	long := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	made.Status = v1alpha1.BuildStatus{
		Phase: v1alpha1.BuildSucceeded, Digest: digest, Tags: []string{ref}, RunImage: &run, Buildpacks: builder.Status.Buildpacks, Attempts: 1, CompletedAt: &long,
	}
	return p.api.Status().Update(ctx, made)
}

// all waits until nothing is missing of any of the Images. It looks at each until that is so: a list
// again and again would be a load of its own.
func (p *planeBench) all(what string, names []client.ObjectKey, missing func(*v1alpha1.Image) string) {
	p.b.Helper()
	cached := &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}}
	for _, name := range names {
		p.until(what+" of "+name.String(), func() string {
			var i v1alpha1.Image
			if err := p.api.Get(p.b.Context(), name, &i, cached); err != nil {
				return err.Error()
			}
			return missing(&i)
		})
	}
}
