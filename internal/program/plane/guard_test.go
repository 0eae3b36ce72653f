package plane

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	controllers "plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	controller "plimsoll.dev/plimsoll/internal/controller/build"
	"plimsoll.dev/plimsoll/internal/controller/secrets"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// tenants is a worker on a real API server.
type tenants struct {
	*bed.Bed
	worker
}

func newTenants(t *testing.T) *tenants {
	t.Helper()
	b, p := bed.New(t), newPlane(t)
	var cache client.Client
	b.Manager(t, controllers.Options{}, func(m ctrl.Manager) error {
		cache = m.GetClient()
		return p.registry().Setup(m)
	})
	return &tenants{b, worker{Plane: p, cache: cache}}
}

// job gives a rebase of an Image of the namespace, which is declared, with a login for the registry.
func (n *tenants) job(t *testing.T, namespace, name, tag, registry string) controller.Job {
	t.Helper()
	i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	i.Spec = v1alpha1.ImageSpec{
		Tag: tag, Builder: v1alpha1.ClusterReference{Name: "standard"},
		Source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "https://git.example.com/shop.git"}},
	}
	n.Create(t, i)
	n.Until(t, func() string {
		if err := n.cache.Get(t.Context(), client.ObjectKeyFromObject(i), &v1alpha1.Image{}); err != nil {
			return err.Error()
		}
		return ""
	})
	i.Status.Inputs.RunImage = strings.TrimSuffix(tag, "shop:1") + "run:1"
	b := &v1alpha1.Build{Spec: v1alpha1.BuildSpec{Method: v1alpha1.MethodRebase, Number: 1, Inputs: i.Status.Inputs}}
	login := secrets.RegistryLogin{Registry: registry, Username: namespace, Password: "secret"}
	return controller.Job{Image: i, Build: b, Secrets: secrets.Resolved{Logins: secrets.Logins{Registries: []secrets.RegistryLogin{login}}}}
}

// ends runs rebases and gives the kinds of their errors.
func (n *tenants) ends(t *testing.T, jobs ...controller.Job) []fault.Kind {
	var mu sync.Mutex
	out := make([]fault.Kind, len(jobs))
	n.Rebase(t.Context(), jobs, func(i int, _ controller.Outcome, err error) {
		mu.Lock()
		defer mu.Unlock()
		if out[i] = fault.KindOf(err); err == nil {
			t.Errorf("job %d is said to be done", i)
		}
	})
	return out
}

// TestNobodyIsLentAnothersLogin rebases images of two teams together, in one registry, which notes
// whose login is shown for what.
func TestNobodyIsLentAnothersLogin(t *testing.T) {
	n := newTenants(t)
	server := newHeard(t)
	// The server's certificate is nobody's: the way to it is a test's, the logins are not.
	transport := server.Client().Transport
	host := strings.TrimPrefix(server.URL, "https://")
	var jobs []controller.Job
	for _, team := range []string{"red", "blue"} {
		n.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team}})
		jobs = append(jobs, n.job(t, team, "shop", host+"/"+team+"/shop:1", host))
	}
	n.lent = transport
	n.ends(t, jobs...)
	if diff := cmp.Diff([]string{"blue", "red"}, slices.Sorted(maps.Keys(server.users))); diff != "" {
		t.Errorf("the logins that were shown (-want +got):\n%s", diff)
	}
	if len(server.wrong) > 0 {
		t.Errorf("logins were shown for what is not their user's: %v", server.wrong)
	}
}

// TestABuildMayNoMoreThanItsImage holds a Build that somebody made by himself against what its Image may
// have.
func TestABuildMayNoMoreThanItsImage(t *testing.T) {
	n := newTenants(t)
	n.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "red"}})
	var b v1alpha1.Builder
	b.Name = "standard"
	b.Spec = v1alpha1.BuilderSpec{
		Build: v1alpha1.BuildBase{Image: "build:1"}, Run: []v1alpha1.RunBase{{Image: "run:1"}},
		Lifecycle: v1alpha1.LifecycleSource{Image: "lifecycle:1"}, Buildpacks: []v1alpha1.BuildpackSource{{Image: "go:1"}},
		Order: []v1alpha1.OrderGroup{{Group: []v1alpha1.OrderEntry{{ID: "plimsoll/go"}}}},
	}
	n.Create(t, &b)
	n.Until(t, func() string {
		if err := n.cache.Get(t.Context(), client.ObjectKeyFromObject(&b), &v1alpha1.Builder{}); err != nil {
			return err.Error()
		}
		return ""
	})
	other := n.job(t, "red", "other", "run:1", "")
	foreign := n.job(t, "red", "foreign", "red/shop:1", "")
	foreign.Build.Spec.Inputs.RunImage = "blue/run:1"
	if got := n.ends(t, other, foreign); !slices.Equal(got, []fault.Kind{fault.Denied, fault.Denied}) {
		t.Errorf("they end with %v", got)
	}
	for _, job := range []controller.Job{other, foreign} {
		ref, err := oci.Parse(job.Image.Spec.Tag)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.site.Registries.Get(t.Context(), ref); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", job.Image.Spec.Tag, err)
		}
	}
	if image, err := n.owner(t.Context(), n.cache, "run:1"); err != nil || image != nil {
		t.Errorf("run:1 belongs to %v, %v", image, err)
	}
	if image, err := n.owner(t.Context(), n.cache, "red/shop:1"); err != nil || image == nil || image.Name != "foreign" {
		t.Errorf("red/shop:1 belongs to %v, %v", image, err)
	}
}
