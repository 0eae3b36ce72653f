package program

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// TestControlPlaneBehindBadNetwork runs a control plane whose ways to the API, the source, the
// archive, the registry, the database and the advisories are cut and stopped, one after another,
// while bases change and commits come. In the end all is made from the newest, and nothing was done
// twice.
func TestControlPlaneBehindBadNetwork(t *testing.T) {
	kubernetes := clustertest.Start(t)
	ways := ways{}
	api := ways.to(t, "the API", "tcp", strings.TrimPrefix(kubernetes.Config().Host, "https://"))
	images := ways.to(t, "the registry", "tcp", registryOf(t))
	t.Setenv("PLIMSOLL_INVENTORY", ways.database(t))
	c := newControl(t, "--kubeconfig", kubeconfigBy(t, api, kubernetes.Kubeconfig()), "--publish", images)
	t.Setenv("KUBECONFIG", kubernetes.Kubeconfig()) // the test itself meets no faults
	c.published = images + "/"
	c.repo.url = "https://" + ways.to(t, "the source", "tcp", strings.TrimPrefix(strings.TrimSuffix(c.repo.url, "/shop.git"), "https://")) + "/shop.git"
	c.archive = "http://" + ways.to(t, "the archive", "tcp", filesOf(t, "../../examples/archives/before"))
	known := t.TempDir()
	c.publish(known)
	feed := "http://" + ways.to(t, "the advisories", "tcp", filesOf(t, known))
	c.start()
	c.connect(kubernetes.Kubeconfig())
	c.applyBuildBase()
	c.applyBefore("web")
	c.apply(smallBuilder)
	c.apply(strings.ReplaceAll(smallShop, "REPOSITORY", c.repo.url))
	c.apply("apiVersion: plimsoll.dev/v1alpha1\nkind: AdvisoryFeed\nmetadata: {name: osv}\nspec: {kind: osv, url: \"" + feed + "\", ecosystems: [npm], interval: 5s}\n")
	c.eventually(builtWithin, "the Image is built", func() error { return c.settled("static") })
	ways.suffer(c)
	c.eventually(builtWithin, "the Image is of the newest", func() error { return c.settled("static") })
	c.fed("osv")
	c.onceEach("static")
	if i, err := c.image("static"); err != nil || i.Status.Builds < 3 {
		t.Errorf("%d builds and rebases, %v: nothing was done meanwhile", i.Status.Builds, err)
	}
	c.verified("static")
	c.stop()
}

const smallBuilder = `
apiVersion: plimsoll.dev/v1alpha1
kind: Builder
metadata: {name: builder}
spec:
  build: {image: "build:1"}
  run: [{image: "web:1"}]
  lifecycle: {path: lifecycle}
  buildpacks: [{path: buildpacks/static-web}]
  order: [{group: [{id: plimsoll/static-web}]}]
`

const smallShop = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: plimsoll.dev/v1alpha1
kind: Image
metadata: {name: static, namespace: shop}
spec:
  tag: shop/static:1
  builder: {name: builder}
  source:
    git: {url: REPOSITORY}
    subpath: static
  triggers: {interval: 1s}
`

// ways are the ways of a control plane to all that it needs, each with its name.
type ways map[string]*proxy

// to adds a way to an address and gives where it begins.
func (w ways) to(t *testing.T, name, network, address string) string {
	t.Helper()
	w[name] = newProxy(t, network, address)
	return w[name].address()
}

// database adds the way to a database for the inventory, and gives its URL.
func (w ways) database(t *testing.T) string {
	t.Helper()
	server, err := url.Parse(testbed.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	by := w.to(t, "the database", "unix", filepath.Join(server.Query().Get("host"), ".s.PGSQL.5432"))
	return "postgres://" + server.User.String() + "@" + by + "/postgres?sslmode=disable"
}

// suffer has each way cut once and stopped once, in any order, while the base changes and commits come.
func (w ways) suffer(c *control) {
	const lasting, between = 3 * time.Second, 2 * time.Second // at most
	seed := rand.Uint64()
	c.t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	names := slices.Sorted(maps.Keys(w))
	for n, i := range random.Perm(2 * len(names)) {
		c.flip(n%2 == 1, "web")
		if n%3 == 0 {
			c.repo.say(fmt.Sprint("Gale ", n))
		}
		<-time.After(time.Duration(random.Int64N(int64(between))))
		name, cut := names[i/2], i%2 == 0
		w[name].fault(cut)
		<-time.After(time.Duration(random.Int64N(int64(lasting))))
		w[name].mend()
		c.t.Logf("the way to %s is back; cut: %v", strings.TrimPrefix(name, "the "), cut)
	}
}

// registryOf serves the registry of another home, and gives its address.
func registryOf(t *testing.T) string {
	t.Helper()
	other := &bench{t: t, home: t.TempDir()}
	address := "127.0.0.1:" + quietPort(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var log bytes.Buffer
	go func() { ended <- Run(ctx, other.host(&log, &log), []string{"registry", "serve", "--addr", address}) }()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("the registry ended with %d:\n%s", code, log.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		response, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			response.Body.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("the registry does not serve: %v", err)
		}
	}
}

// filesOf serves the files of a folder, and gives the address.
func filesOf(t *testing.T, folder string) string {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(folder)))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// kubeconfigBy gives a copy of a kubeconfig that leads by the address.
func kubeconfigBy(t *testing.T, address, file string) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + address
	}
	out := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, out); err != nil {
		t.Fatal(err)
	}
	return out
}
