package plane

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/controller/leader"
	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/update"
)

// TestReplicasShareACampaign has two replicas with homes of their own, one PostgreSQL and one registry
// work at one campaign, and kills the one that leads in the middle: the other leads and ends it, and
// nothing is done twice.
func TestReplicasShareACampaign(t *testing.T) {
	const images, strays = 40, 6
	d := newDockAt(t, mooring{Inventory: inventorytest.Database(t, testbed.Postgres(t)), Publish: port(t) + "/fleet"})
	one, other := d.replica(t, "one"), d.replica(t, "other")
	leads := testbed.Send(t, one)
	first := d.leads(t, "")
	follows := testbed.Send(t, other)
	var names []string
	for n := range images {
		names = append(names, fmt.Sprint("app-", n))
	}
	all, own := d.declare(t, "", names...), d.strays(t, strays)
	before, ownBefore, digest := d.digests(t, all), d.heads(t, own), d.newBase(t, "3.5.2")
	p := d.patch(t, "ssl", v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{Bases: []string{yardBase}}, Paused: true})
	d.held(t, p, digest, all)
	d.Change(t, p, func() { p.Spec.Paused = false })
	d.Until(t, func() string {
		if by := d.ordered(t); by[one.Replica] == 0 || by[other.Replica] == 0 {
			return fmt.Sprintf("of the Builds were made by %v", by)
		}
		return ""
	})
	if err := leads.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = leads.Wait() // it was killed
	killedAt := d.ordered(t)
	d.leads(t, first)
	d.until(t, p, v1alpha1.PatchDone)
	by := d.ordered(t)
	t.Logf("Builds by replica: %v when the one that led was killed, %v in the end", killedAt, by)
	if killedAt[one.Replica]+killedAt[other.Replica] >= images {
		t.Error("nothing was left to do when it was killed")
	}
	if by[one.Replica]+by[other.Replica] != images || p.Status.Images.Done != images+strays || p.Status.Images.Failed != 0 {
		t.Errorf("Builds by replica: %v; the Patch says %+v", by, p.Status.Images)
	}
	d.truthful(t, all...)
	for i, image := range all {
		if made := d.made(t, image); len(made) != 2 || made[1].Spec.Number != 2 {
			t.Errorf("%s has had %d Builds", image.Name, len(made))
		}
		if d.named(t, image) == before[i] {
			t.Errorf("%s was not moved", image.Name)
		}
	}
	for i, now := range d.heads(t, own) {
		if now == ownBefore[i] {
			t.Errorf("%s was not moved", own[i])
		}
		d.plimsoll(t, "verify", own[i].String())
	}
	if r := d.report(t, "ssl"); len(r.Images) != images+strays || slices.ContainsFunc(r.Images, notMoved) {
		t.Errorf("the report has %d images: %+v", len(r.Images), r.Images)
	}
	late := &campaigns{Plane: d.Plane, client: behind{d.Client}, api: d.Client}
	if builds, err := late.buildsOf(t.Context(), all[0]); err != nil || len(builds) != 2 {
		t.Errorf("one whose cache is behind its Image's finds %d Builds, %v", len(builds), err)
	}
	if err := follows.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := follows.Wait(); err != nil {
		t.Errorf("a replica that was asked to end: %v", err)
	}
}

// notMoved says that a report tells of an image that names what it named.
func notMoved(i update.ReportedImage) bool {
	return i.After == "" || i.After == i.Before || i.Error != ""
}

// behind is a watch cache that was told of no Build yet.
type behind struct{ client.Client }

func (behind) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// port serves a registry of the test's own, and gives its address.
func port(t *testing.T) string {
	t.Helper()
	store, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(store.Handler())
	t.Cleanup(func() {
		server.Close()
		_ = store.Close()
	})
	return server.Listener.Addr().String()
}

// replica gives one of several, with a home of its own in which the keys of all are, as a Secret
// brings them.
func (d *dock) replica(t *testing.T, name string) errand {
	t.Helper()
	e := errand{Host: d.Config.Host, TLS: d.Config.TLSClientConfig, Folder: t.TempDir(), Parts: d.o.Parts, Mooring: d.mooring, Replica: name}
	if err := os.CopyFS(filepath.Join(e.Folder, "keys"), os.DirFS(filepath.Join(d.folder, "keys"))); err != nil {
		t.Fatal(err)
	}
	return e
}

// leads waits until somebody else than not leads, and gives who does.
func (d *dock) leads(t *testing.T, not string) (holder string) {
	t.Helper()
	leases := clientset.NewForConfigOrDie(d.Config).CoordinationV1().Leases(metav1.NamespaceSystem)
	d.Until(t, func() string {
		lease, err := leases.Get(t.Context(), leader.Name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if holder = ptr.Deref(lease.Spec.HolderIdentity, ""); holder == not {
			return "nobody else leads"
		}
		return ""
	})
	return holder
}

// ordered counts the Builds of campaigns by the replica that made them, as the API server noted who did.
func (d *dock) ordered(t *testing.T) map[string]int {
	t.Helper()
	var list v1alpha1.BuildList
	if err := d.Client.List(t.Context(), &list, client.HasLabels{v1alpha1.LabelPatch}); err != nil {
		t.Fatal(err)
	}
	by := map[string]int{}
	for _, b := range list.Items {
		for _, f := range b.ManagedFields {
			if f.Subresource == "" {
				by[f.Manager]++
				break
			}
		}
	}
	return by
}

// strays pushes images that no Image publishes, and gives their tags.
func (d *dock) strays(t *testing.T, n int) (all []oci.Reference) {
	t.Helper()
	for i := range n {
		ref, err := d.place(fmt.Sprintf("stray/app-%d:1", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.app(t.Context(), ref, app{name: ref.String(), tools: "1.26.0", lodash: "4.17.20"}); err != nil {
			t.Fatal(err)
		}
		all = append(all, ref)
	}
	return all
}

// heads gives what tags name.
func (d *dock) heads(t *testing.T, all []oci.Reference) (out []string) {
	t.Helper()
	for _, ref := range all {
		digest, err := makers{d.Plane}.Digest(t.Context(), ref.String())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, digest)
	}
	return out
}

func TestWhoSharesCampaigns(t *testing.T) {
	const server = "postgres://inventory.example.com/plimsoll"
	for _, test := range []struct {
		name               string
		lease              *leader.Lease
		publish, inventory string
		want               bool
	}{
		{"one inventory and one registry", &leader.Lease{}, "registry.example.com/fleet", server, true},
		{"a single replica", nil, "registry.example.com/fleet", server, false},
		{"a registry of its own", &leader.Lease{}, "", server, false},
		{"a file that one process owns", &leader.Lease{}, "registry.example.com/fleet", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := mooring{Inventory: test.inventory, Publish: test.publish}
			p := &Plane{site: site.New(t.TempDir(), nil, site.Options{Options: home.Options{Getenv: m.getenv}}), o: cli.UpOptions{Publish: test.publish}, lease: test.lease}
			if got := p.shared(); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
			if got := (turns{shared: p.shared()}).NeedLeaderElection(); got == test.want {
				t.Errorf("it works only where it leads: %t", got)
			}
		})
	}
}

func TestStepsAreOfAHome(t *testing.T) {
	owner := func(home string) string {
		t.Helper()
		name, err := stepsOwner(home)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	first := t.TempDir()
	if owner(first) != owner(first+"/.") || owner(first) == owner(t.TempDir()) {
		t.Error("the pods of a home are its own, also after a restart")
	}
}
