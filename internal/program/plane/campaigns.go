package plane

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/controller/patch"
	"plimsoll.dev/plimsoll/internal/evidence/recent"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/site/remedy"
	"plimsoll.dev/plimsoll/internal/update"
)

// campaigns is update.Remedier in the cluster: what an Image publishes is remedied by Builds of that
// Image, all else as in a home without a cluster.
type campaigns struct {
	*Plane
	engine *update.Engine
	home   remedy.Home
	client client.Client // reads the watch cache
	api    client.Reader // asks the API itself

	covering
	known *recent.Values[map[string]string] // configured labels, by the digests that Images name
}

// setUpCampaigns adds the update engine to the manager, which runs it where this replica leads, or on
// all replicas that share the work.
func (p *Plane) setUpCampaigns(ctx context.Context, mgr ctrl.Manager, steps executor.Executor) (*campaigns, error) {
	c := &campaigns{
		Plane: p, client: mgr.GetClient(), api: mgr.GetAPIReader(),
		home:  remedy.Home{Site: p.site, Means: p.means("campaign", "")},
		known: recent.New[map[string]string](mostConfigured),
	}
	parts, err := p.parts()
	if err != nil {
		return nil, err
	}
	inv, err := p.site.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	o := c.home.Options()
	o.Plan.Builds, o.Plan.Labels, o.Plan.Base = c.buildable, c.labels, p.base
	o.Remedier, o.Inputs, o.Builds, o.Log = c, c.inputs, p.parallel(), slog.New(quiet{p.log.Handler()})
	o.Tester = remedy.Tester{Site: p.site, Steps: steps, Probe: remedy.Probe(parts)}
	if p.shared() {
		o.Parallel = turnsEach
		c.home.Means.Others = func() bool { return !closed(mgr.Elected()) }
		if err := mgr.Add(manager.RunnableFunc(p.match)); err != nil {
			return nil, err
		}
	}
	var shown patch.Options
	if p.paced != nil {
		p.paced(&o, &shown)
	}
	if c.engine, err = update.Open(ctx, inv, p.site.InventoryAddress(), o); err != nil {
		return nil, err
	}
	if err := mgr.Add(turns{c.engine, p.shared()}); err != nil {
		return nil, err
	}
	return c, errors.Join(c.follow(ctx, mgr), patch.Setup(mgr, c.engine, shown))
}

// turnsEach is how many turns at campaigns a replica that shares the work takes at a time: of those that
// one campaign has, another replica is left some.
const turnsEach = 2

// shared says whether every replica works at campaigns. All of them must see one inventory, which a
// SQLite file is not, and one registry, which that of a home is not.
func (p *Plane) shared() bool {
	return p.lease != nil && p.o.Publish != "" && !strings.HasPrefix(p.site.InventoryAddress(), "sqlite:")
}

// matchEvery is how long packages wait at most that another replica has brought.
const matchEvery = 30 * time.Second

// match holds against advisories what replicas have made that do not lead: feeds are synced where this
// runs alone.
func (p *Plane) match(ctx context.Context) error {
	ticker := time.NewTicker(matchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := p.site.Match(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("new packages wait to be held against advisories", "error", err)
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// turns is the engine at work.
type turns struct {
	engine *update.Engine
	shared bool // by all replicas; else the one that leads works alone
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (t turns) NeedLeaderElection() bool { return !t.shared }

// Start implements manager.Runnable.
func (t turns) Start(ctx context.Context) error {
	err := t.engine.Run(ctx)
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, t.engine.Close())
}

// fed tells campaigns that something new is known of vulnerabilities.
func (p *Plane) fed(ctx context.Context) {
	c := p.campaigns.Load()
	if c == nil {
		return // they look for themselves when they begin
	}
	if err := c.engine.Changed(ctx, update.Change{Kind: update.FeedSynced}); err != nil {
		p.log.Warn("campaigns were not told of new advisories", "error", err)
	}
}

// follow has Images looked at again when what holds them back is another.
func (c *campaigns) follow(ctx context.Context, mgr ctrl.Manager) error {
	informer, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.Patch{})
	if err != nil {
		return err
	}
	wake := func() {
		if images := c.images.Load(); images != nil {
			images.WakeAll(ctx)
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		UpdateFunc: func(was, is any) {
			if holding(was.(*v1alpha1.Patch)) != holding(is.(*v1alpha1.Patch)) {
				wake()
			}
		},
		DeleteFunc: func(any) { wake() },
	})
	return err
}

// imageOf gives the Image that the reference belongs to; nil where it is none's. It is not to be
// changed.
func (c *campaigns) imageOf(ctx context.Context, reference string) (*v1alpha1.Image, error) {
	image, err := c.owner(ctx, c.client, reference)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "find the Image of", reference, err)
	}
	return image, nil
}

// buildable says whether the image of the reference can be built again here.
func (c *campaigns) buildable(reference string) bool {
	image, err := c.imageOf(context.Background(), reference) // it is in memory
	return err == nil && image != nil && !image.Spec.Suspend
}

// inputs is a text for all builders.
func (c *campaigns) inputs(ctx context.Context) (string, error) {
	var list v1alpha1.BuilderList
	if err := c.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return "", err
	}
	var all []string
	for _, b := range list.Items {
		if p := b.Status.Published; p != nil {
			all = append(all, p.Image+"@"+p.Digest)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n"), nil
}

// Apply implements update.Remedier.
func (c *campaigns) Apply(ctx context.Context, batch update.Batch, report func(update.Outcome)) error {
	var reporting sync.Mutex
	tell := func(o update.Outcome) {
		reporting.Lock()
		defer reporting.Unlock()
		report(o)
	}
	rest := batch
	rest.Items = nil
	var working sync.WaitGroup
	for _, item := range batch.Items {
		image, err := c.imageOf(ctx, item.Reference)
		switch {
		case err != nil:
			tell(update.Outcome{Number: item.Number, Err: err})
		case image == nil, batch.Hold && batch.Remedy == artifact.RemedyRebase:
			rest.Items = append(rest.Items, item)
		default:
			working.Go(func() { tell(c.remedy(ctx, order{batch, item, image})) })
		}
	}
	defer working.Wait()
	if len(rest.Items) == 0 {
		return nil
	}
	return c.home.Apply(ctx, rest, tell)
}

// Move implements update.Remedier. An Image whose tag was moved on is told by a Build, which finds
// nothing left to do; one whose tag was moved back stays there until it changes the next time.
func (c *campaigns) Move(ctx context.Context, moves []update.Move, report func(update.Outcome)) error {
	byNumber := map[int64]update.Move{}
	for _, m := range moves {
		byNumber[m.Number] = m
	}
	return c.home.Move(ctx, moves, func(o update.Outcome) {
		if o.Err == nil {
			if err := c.note(ctx, byNumber[o.Number]); err != nil {
				c.log.Warn("an Image was not told that its tag was moved", "tag", byNumber[o.Number].Reference, "error", err)
			}
		}
		report(o)
	})
}
