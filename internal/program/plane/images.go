package plane

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/build"
	"plimsoll.dev/plimsoll/internal/controller/figures"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/controller/queue"
	"plimsoll.dev/plimsoll/internal/controller/secrets"
	"plimsoll.dev/plimsoll/internal/controller/webhook"
	"plimsoll.dev/plimsoll/internal/fault"
)

// setUpImages adds what keeps Images built. It gives what it serves, by path.
func (p *Plane) setUpImages(ctx context.Context, mgr ctrl.Manager, measure *figures.Metrics) (map[string]http.Handler, error) {
	steps, err := p.steps(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.indexRepositories(ctx, mgr); err != nil {
		return nil, fault.New(fault.Failed, "set up the controllers", "", err)
	}
	campaigns, err := p.setUpCampaigns(ctx, mgr, steps)
	if err != nil {
		return nil, fault.New(fault.Failed, "set up campaigns", "", err)
	}
	store := logs.New(p.site.Path("logs"), 0)
	opinions := p.opinions(ctx)
	rebases, err := build.Setup(mgr, worker{p, mgr.GetClient(), steps, opinions.await}, store, p.rebased, build.Options{Limits: queue.Limits{Total: p.parallel()}, Ended: measure.Ended})
	if err != nil {
		return nil, fault.New(fault.Failed, "set up the controllers", "", err)
	}
	images, err := image.Setup(mgr, sources{p, mgr.GetAPIReader()}, rebases, image.Options{
		Overrides: p.overrides, Hold: campaigns.hold, Verdict: opinions.verdict, Registry: p.registry(), Files: p.files(),
		WebhookToken: func(ctx context.Context, namespace, name string) error {
			_, err := secrets.WebhookToken(ctx, mgr.GetAPIReader(), namespace, name)
			return err
		},
	})
	if err != nil {
		return nil, fault.New(fault.Failed, "set up the controllers", "", err)
	}
	p.cache = mgr.GetClient()
	p.images.Store(images)
	p.rebases.Store(rebases)
	p.campaigns.Store(campaigns)
	if err := webhook.Index(mgr.GetFieldIndexer()); err != nil {
		return nil, fault.New(fault.Failed, "set up the controllers", "", err)
	}
	hooks := webhook.Handler(webhook.Cluster{Cache: mgr.GetClient(), Secrets: mgr.GetAPIReader(), Leading: mgr.Elected()}, images)
	hooks = received(receivedWithin, p.leaders(mgr, hooks))
	return map[string]http.Handler{
		"GET /logs/": paced(p.leaders(mgr, logs.Handler(store, mgr.GetClient()))), "POST /webhooks": hooks, "POST /webhooks/": hooks,
	}, nil
}

// rebased has an Image looked at again, a rebase of which has ended.
func (p *Plane) rebased(image types.NamespacedName) {
	if images := p.images.Load(); images != nil {
		images.Wake(image)
	}
}

// unlisted gives the rebases that wait and that no list of Builds has.
func (p *Plane) unlisted() []*v1alpha1.Build {
	if rebases := p.rebases.Load(); rebases != nil {
		return rebases.Waiting()
	}
	return nil
}

// receivedWithin is how long a webhook may take to arrive: strangers who send a byte now and then
// would take the room of all others.
const receivedWithin = time.Minute

func received(within time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(within)) // every server of ours can
		next.ServeHTTP(w, r)
	})
}

// paced bounds requests a second for which the Kubernetes API is asked who somebody is: strangers
// must not take what the controllers need of it.
func paced(next http.Handler) http.Handler {
	pace := rate.NewLimiter(20, 40)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !pace.Allow() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests: ask again", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// parallel is how many builds from source run at a time.
func (p *Plane) parallel() int {
	if p.o.Parallel > 0 {
		return p.o.Parallel
	}
	return max(1, runtime.NumCPU()/2)
}
