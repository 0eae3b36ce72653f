// Package controller takes the address of a Kubernetes API and gives the manager that
// reconcilers of our resources run in: one shared watch cache, one client, one leader.
//
// Its folders hold the reconcilers, one for each resource. They join rooms and own no rules: a
// reconciler that needs work done declares a small interface, and package program supplies it.
package controller

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Options of a manager.
type Options struct {
	Log *slog.Logger // nil discards

	Metrics string // address that serves /metrics; "" serves none
	Health  string // address that serves /healthz and /readyz; "" serves none

	// Leader is the lease by which one of several replicas is chosen, as package leader gives it;
	// nil is for a single one, which leads at once.
	Leader resourcelock.Interface

	// Lease is after what time without a sign of it the replica that leads is taken to be dead; 0 is
	// 15 seconds.
	Lease time.Duration

	// Concurrency is how many objects of a kind are reconciled at a time; 0 is 8.
	Concurrency int

	// QPS bounds requests to the API a second. 0 is 1,000, which keeps 10,000 Images moving while
	// a mistake cannot fill an API server that has no priorities of its own; below 0 is no bound.
	QPS float32

	// Namespaces to work in; none means all.
	Namespaces []string

	// SkipNames lets tests have more than one manager in a process.
	SkipNames bool
}

// New gives a manager without controllers: each folder's Setup adds its own. Nothing starts
// before its Start. Errors are *fault.Error.
func New(target *rest.Config, o Options) (ctrl.Manager, error) {
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	log := logr.FromSlogHandler(slog.DiscardHandler)
	if o.Log != nil {
		log = logr.FromSlogHandler(o.Log.Handler())
	}
	ctrllog.SetLogger(log) // what controller-runtime itself logs outside of the manager
	target = rest.CopyConfig(target)
	target.QPS = cmp.Or(o.QPS, 1000)
	target.Burst = int(2 * max(target.QPS, 0))
	settle := 10 * time.Second
	lease := cmp.Or(o.Lease, 15*time.Second)
	renew, retry := lease*2/3, lease*2/15
	m, err := ctrl.NewManager(target, ctrl.Options{
		Scheme:                              scheme,
		Logger:                              log,
		Cache:                               cacheOptions(o),
		Client:                              client.Options{Cache: &client.CacheOptions{DisableFor: uncached()}},
		Metrics:                             metricsserver.Options{BindAddress: cmp.Or(o.Metrics, "0")},
		HealthProbeBindAddress:              o.Health,
		LeaderElection:                      o.Leader != nil,
		LeaderElectionResourceLockInterface: o.Leader,
		LeaseDuration:                       &lease,
		RenewDeadline:                       &renew,
		RetryPeriod:                         &retry,
		// The process ends with its manager, so that the next leader need not wait for the lease.
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &settle,
		Controller: config.Controller{
			MaxConcurrentReconciles: cmp.Or(o.Concurrency, 8),
			// The queue with priorities would let what changes now go before the thousands that a restart
			// lists; but until a version that can be had for this Kubernetes, it may never end
			// (kubernetes-sigs/controller-runtime#3538).
			UsePriorityQueue:   new(false),
			SkipNameValidation: new(o.SkipNames),
		},
	})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "make the controllers' manager", target.Host, err).
			WithHint("see whether the Kubernetes API answers: `kubectl version`")
	}
	synced := func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !m.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the watch cache is not filled yet")
		}
		return nil
	}
	if err := errors.Join(m.AddHealthzCheck("ping", healthz.Ping), m.AddReadyzCheck("cache", synced)); err != nil {
		return nil, fault.New(fault.Failed, "add probes", "", err)
	}
	return m, nil
}

// Scheme gives the kinds that controllers know: our own, and those of Kubernetes that they read
// or write.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, corev1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fault.New(fault.Failed, "make the scheme", "", err)
		}
	}
	return scheme, nil
}

// uncached are kinds that are read from the API each time, whoever asks: what they hold may not
// lie in the memory of a process that serves others, or is too much for it.
func uncached() []client.Object {
	return []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}, &corev1.ServiceAccount{}, &corev1.Event{}}
}

func cacheOptions(o Options) cache.Options {
	out := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject:         map[client.Object]cache.ByObject{&v1alpha1.Build{}: {Transform: slim}},
	}
	if len(o.Namespaces) > 0 {
		out.DefaultNamespaces = map[string]cache.Config{}
		for _, name := range o.Namespaces {
			out.DefaultNamespaces[name] = cache.Config{}
		}
	}
	return out
}

var _ toolscache.TransformFunc = slim

// slim leaves out of Builds that have ended what only their readers want: there are many more of
// them than of anything else, and nobody writes them again.
func slim(object any) (any, error) {
	build, ok := object.(*v1alpha1.Build)
	if !ok {
		return object, nil
	}
	build.ManagedFields = nil
	if build.Status.Phase.Ended() {
		build.Status.Steps, build.Status.Buildpacks = nil, nil
		for i := range build.Spec.Reasons {
			build.Spec.Reasons[i].Detail = ""
		}
	}
	return build, nil
}
