package program

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/oci"
)

// asProgram makes this test binary the program: a process that can be killed.
const asProgram = "PLIMSOLL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(Run(ctx, System(), os.Args[1:]))
}

// Deadlines are for a machine that many share; a quiet one needs a tenth.
const (
	upWithin      = 5 * time.Minute
	builtWithin   = 15 * time.Minute
	changedWithin = 5 * time.Minute
)

// control is a control plane of a home, run by a process of its own, and a git repository whose
// folders its Images are built from.
type control struct {
	*bench
	repo *repository
	up   *upProcess
	api  client.Client

	published string // registry that all goes to, with a slash; "" is the home's own
	archive   string // mirror of the archive of before; "" is its folder
}

// upProcess is `plimsoll up`, from start to start.
type upProcess struct {
	program string // path; "" is this one
	flags   []string
	log     string // file
	lives   int    // how often it may end by itself: who starts it starts it again

	cmd   *exec.Cmd
	ready chan cli.UpState
	ended chan struct{}
	state cli.UpState
}

// newControl gives a control plane with these flags of `up`, not yet started.
func newControl(t *testing.T, flags ...string) *control {
	t.Helper()
	t.Setenv("PLIMSOLL_KUBERNETES", clustertest.Program(t))
	t.Setenv("KUBECONFIG", "")
	parts, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"lifecycle/lifecycle.toml", "buildpacks/go/buildpack.toml", "agent/linux/amd64/agent"} {
		if _, err := os.Stat(filepath.Join(parts, made)); err != nil {
			t.Fatalf("%v: run `make`", err)
		}
	}
	c := &control{bench: newBench(t), repo: newRepository(t)}
	// The port is kept over restarts: below those that the kernel gives to clients.
	flags = append(flags, "--parts", parts, "--registry", "127.0.0.1:"+quietPort(t), "--page", "127.0.0.1:0")
	c.up = &upProcess{flags: flags, log: filepath.Join(t.TempDir(), "up.log")}
	t.Cleanup(func() {
		if t.Failed() {
			c.report()
		}
		c.kill()
	})
	return c
}

// in gives the control plane to a subtest.
func (c *control) in(t *testing.T) *control {
	inner := *c
	inner.bench = c.bench.in(t)
	return &inner
}

// launch starts the process.
func (c *control) launch() {
	c.t.Helper()
	log, err := os.OpenFile(c.up.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(cmp.Or(c.up.program, os.Args[0]), append([]string{"up", "-o", "json"}, c.up.flags...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "PLIMSOLL_HOME="+c.home)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ready, ended := make(chan cli.UpState, 1), make(chan struct{})
	c.up.cmd, c.up.ready, c.up.ended = cmd, ready, ended
	go func() {
		defer close(ended)
		var state cli.UpState
		if json.NewDecoder(out).Decode(&state) == nil {
			ready <- state
		}
		_ = cmd.Wait() // its exit code is looked at where it matters
	}()
}

// start launches the process and waits until it is ready.
func (c *control) start() {
	c.t.Helper()
	c.launch()
	select {
	case c.up.state = <-c.up.ready:
	case <-c.up.ended:
		c.t.Fatalf("plimsoll up ended: %s", c.up.cmd.ProcessState)
	case <-time.After(upWithin):
		c.t.Fatal("plimsoll up is not ready")
	}
	c.t.Logf("ready after %.1f s", c.up.state.Took.Seconds())
	c.connect(c.up.state.Kubeconfig)
}

// connect has the test speak to the API by a kubeconfig.
func (c *control) connect(kubeconfig string) {
	c.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		c.t.Fatal(err)
	}
	scheme, err := controller.Scheme()
	if err != nil {
		c.t.Fatal(err)
	}
	if c.api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		c.t.Fatal(err)
	}
}

// stop interrupts the process, which must end well.
func (c *control) stop() {
	c.t.Helper()
	if err := c.up.cmd.Process.Signal(os.Interrupt); err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-c.up.ended:
	case <-time.After(2 * time.Minute):
		c.t.Fatal("plimsoll up does not end when it is interrupted")
	}
	if code := c.up.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("plimsoll up ended with %d", code)
	}
}

// again launches the process that has ended by itself, as long as it may.
func (c *control) again() {
	c.t.Helper()
	if c.up.lives == 0 {
		c.t.Fatalf("plimsoll up ended: %s", c.up.cmd.ProcessState)
	}
	c.up.lives--
	c.t.Logf("plimsoll up ended: %s, and is launched again", c.up.cmd.ProcessState)
	c.launch()
}

// kill kills the process, if it runs, and waits for its end.
func (c *control) kill() {
	if c.up.cmd == nil {
		return
	}
	_ = c.up.cmd.Process.Kill() // it has ended already when this fails
	<-c.up.ended
}

// killPart kills one of the processes of the home's Kubernetes. It says whether that one ran.
func (c *control) killPart(name string) bool {
	c.t.Helper()
	for pid, args := range c.processes() {
		own := filepath.Base(args[0]) == name || len(args) > 1 && args[1] == name
		if own && syscall.Kill(pid, syscall.SIGKILL) == nil {
			return true
		}
	}
	return false // between two runs
}

// processes gives the arguments of those on this machine that name the home.
func (c *control) processes() map[int][]string {
	c.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		c.t.Fatal(err)
	}
	found := map[int][]string{}
	for _, file := range files {
		text, _ := os.ReadFile(file) // it has ended meanwhile when this fails
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && bytes.Contains(text, []byte(c.home)) {
			found[pid] = strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		}
	}
	return found
}

// apply declares resources, as kubectl does.
func (c *control) apply(resources string) {
	c.t.Helper()
	var out bytes.Buffer
	host := c.host(&out, &out)
	host.In = strings.NewReader(resources)
	if code := Run(c.t.Context(), host, []string{"kubectl", "apply", "-f", "-"}); code != 0 {
		c.t.Fatalf("plimsoll kubectl apply: exit %d\n%s", code, out.String())
	}
}

// applyFile declares the resources of a file of this repository, with some texts replaced.
func (c *control) applyFile(file string, replace ...string) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			c.t.Fatalf("%s does not say %q", file, replace[i])
		}
	}
	// Both architectures are the base tests' concern.
	text = bytes.ReplaceAll(text, []byte("  architectures: [amd64, arm64]\n"), nil)
	c.apply(strings.NewReplacer(replace...).Replace(string(text)))
}

// eventually waits until look finds nothing wrong.
func (c *control) eventually(within time.Duration, what string, look func() error) {
	c.t.Helper()
	began, told := time.Now(), time.Now()
	for {
		err := look()
		if err == nil {
			c.t.Logf("%s after %.1f s", what, time.Since(began).Seconds())
			return
		}
		select {
		case <-c.t.Context().Done():
			c.t.Fatalf("%s: %v", what, err)
		case <-c.up.ended:
			c.again()
		case <-time.After(200 * time.Millisecond):
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			c.t.Logf("not yet %s: %v", what, err)
		}
		if time.Since(began) > within {
			c.t.Fatalf("%s: not after %v: %v", what, within, err)
		}
	}
}

// shop is the namespace of the Images.
const shop = "shop"

// image gives an Image of the shop.
func (c *control) image(name string) (*v1alpha1.Image, error) {
	var i v1alpha1.Image
	err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: shop, Name: name}, &i)
	return &i, err
}

// builds gives those of an Image, the oldest first.
func (c *control) builds(image string) ([]v1alpha1.Build, error) {
	var list v1alpha1.BuildList
	err := c.api.List(c.t.Context(), &list, client.InNamespace(shop), client.MatchingLabels{v1alpha1.LabelImage: image})
	slices.SortFunc(list.Items, func(a, b v1alpha1.Build) int { return int(a.Spec.Number - b.Spec.Number) })
	return list.Items, err
}

// lastBuild gives the newest Build of an Image.
func (c *control) lastBuild(image string) v1alpha1.Build {
	c.t.Helper()
	all, err := c.builds(image)
	if err != nil || len(all) == 0 {
		c.t.Fatalf("the Builds of %s: %d, %v", image, len(all), err)
	}
	return all[len(all)-1]
}

// counts gives how many builds and rebases each Image ever had.
func (c *control) counts() map[string]int64 {
	c.t.Helper()
	out := map[string]int64{}
	for _, name := range shopImages {
		i, err := c.image(name)
		if err != nil {
			c.t.Fatal(err)
		}
		out[name] = i.Status.Builds
	}
	return out
}

// ready says what is wrong with a condition Ready.
func ready(generation int64, s *v1alpha1.Status) error {
	for _, condition := range s.Conditions {
		if condition.Type != v1alpha1.ConditionReady {
			continue
		}
		if condition.Status != metav1.ConditionTrue || condition.ObservedGeneration != generation {
			return fmt.Errorf("%s: %s", condition.Reason, condition.Message)
		}
		return nil
	}
	return errors.New("nothing is said of it")
}

// settled says what is not the newest yet: each base and the builder are ready, and each Image is
// made from what they are, with nothing under way, and the tag names what its status says.
func (c *control) settled(names ...string) error {
	run, err := c.bases()
	if err != nil {
		return err
	}
	var b v1alpha1.Builder
	if err := c.api.Get(c.t.Context(), client.ObjectKey{Name: "builder"}, &b); err != nil {
		return err
	}
	if err := ready(b.Generation, &b.Status.Status); err != nil {
		return fmt.Errorf("builder: %w", err)
	}
	for _, name := range names {
		if err := c.newest(name, b.Status.Published, run); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
	}
	return nil
}

// bases gives the digests of all BaseImages by their tags, once all are ready.
func (c *control) bases() (map[string]string, error) {
	var list v1alpha1.BaseImageList
	if err := c.api.List(c.t.Context(), &list); err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for _, base := range list.Items {
		if err := ready(base.Generation, &base.Status.Status); err != nil {
			return nil, fmt.Errorf("base %s: %w", base.Name, err)
		}
		digests[base.Name+":1"] = base.Status.Published.Digest
	}
	return digests, nil
}

// newest says what of an Image is not made from the newest.
func (c *control) newest(name string, builder *v1alpha1.Published, bases map[string]string) error {
	i, err := c.image(name)
	if err != nil {
		return err
	}
	if err := ready(i.Generation, &i.Status.Status); err != nil {
		return err
	}
	all, err := c.builds(name)
	if err != nil {
		return err
	}
	for _, b := range all {
		if !b.Status.Phase.Ended() {
			return fmt.Errorf("%s is %q: %s", b.Name, b.Status.Phase, b.Status.Message)
		}
	}
	in, latest := i.Status.Inputs, i.Status.LatestImage
	switch {
	case latest == nil:
		return errors.New("there is no image")
	case in.Builder != builder.Digest:
		return fmt.Errorf("it was made with the builder %s, now it is %s", in.Builder, builder.Digest)
	case bases[in.RunImage] == "" || in.RunDigest != bases[in.RunImage]:
		return fmt.Errorf("it stands on %s@%s, now it is %s", in.RunImage, in.RunDigest, bases[in.RunImage])
	case in.Source != c.repo.touched[name]:
		return fmt.Errorf("it is of commit %s, now it is %s", in.Source, c.repo.touched[name])
	}
	if tagged, err := c.tagged(name); err != nil || tagged != latest.Digest {
		return fmt.Errorf("its tag names %s, its status %s, %v", tagged, latest.Digest, err)
	}
	return nil
}

// tagged gives the digest that the tag of an Image names in the home's store.
func (c *control) tagged(image string) (string, error) {
	local := &store{root: filepath.Join(c.home, "registry")}
	defer local.close()
	ref, err := oci.Parse(c.published + shop + "/" + image + ":1")
	if err != nil {
		return "", err
	}
	top, err := (&oci.Registries{Local: local.open}).Session().Manifest(c.t.Context(), ref)
	if err != nil {
		return "", err
	}
	return top.Digest.String(), nil
}

// verdict says what is wrong with what the policies say of an Image.
func (c *control) verdict(image, action, why string) error {
	i, err := c.image(image)
	if err != nil {
		return err
	}
	if v := i.Status.Verdict; v == nil || v.Action != action || !strings.Contains(v.Reason, why) {
		return fmt.Errorf("the verdict on %s is %+v, want %s because of %q", image, v, action, why)
	}
	return nil
}

// verified holds the evidence of each Image, or NAME@DIGEST of one, against the home's keys.
func (c *control) verified(names ...string) {
	c.t.Helper()
	for _, name := range names {
		if !strings.Contains(name, "@") {
			name += ":1"
		}
		c.plimsoll("verify", c.published+shop+"/"+name,
			"--key", filepath.Join(c.home, "keys", "images.pub"), "--attestation-key", filepath.Join(c.home, "keys", "attestations.pub"))
	}
}

// report says how things stand, for whoever reads of a failure.
func (c *control) report() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range []string{
		"get baseimages,builders,images,builds,imagepolicies,advisoryfeeds,dependencyoverrides -A -o wide",
		"get pods -A -o wide", "get events -A --sort-by=.lastTimestamp",
	} {
		cmd := exec.CommandContext(ctx, os.Getenv("PLIMSOLL_KUBERNETES"), append([]string{"kubectl", "--request-timeout=10s"}, strings.Fields(args)...)...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+c.up.state.Kubeconfig)
		out, err := cmd.CombinedOutput()
		c.t.Logf("kubectl %s: %v\n%s", args, err, out[max(0, len(out)-12000):])
	}
	text, err := os.ReadFile(c.up.log)
	c.t.Logf("plimsoll up has logged at last: %v\n%s", err, text[max(0, len(text)-12000):])
}
