// Package pod takes a Step and gives its Result by running it as a pod of a Kubernetes
// cluster, under the restricted pod security standard.
//
// The pod's image is the step's layers and, as one file more, the agent (package agent in
// the folder of that name). All else travels over one stream that the API server carries
// from the executor to the agent and back (package wire): the step's folders as tars
// (package tree), its environment and secrets, its output, and what it changed. The
// cluster's objects hold a step's command, limits and mount points, and nothing of it more.
package pod

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Images gives pods the images of their steps.
type Images interface {
	// Ref gives a reference, such as every node can pull, of an image of the layers and,
	// above them, the agent as AgentPath. Its error is a *fault.Error.
	Ref(ctx context.Context, layers []executor.Layer) (string, error)
}

// AgentPath is where the agent lies in the images of steps.
const AgentPath = "/.plimsoll"

// Options of an Executor. The zero value is what Objects prepares a cluster for.
type Options struct {
	// Namespace and ServiceAccount are those of steps' pods; "" means DefaultNamespace and
	// DefaultServiceAccount.
	Namespace      string
	ServiceAccount string
	// PullSecret names a secret of the namespace, of the type kubernetes.io/dockerconfigjson,
	// that nodes pull the images of steps with; "" is none.
	PullSecret string
	// Owner names this process among those that run steps in the namespace at the same time,
	// and is the same when it is started again; "" means the host's name, which is the pod's
	// in a cluster.
	Owner string
	// Architecture is that of the nodes that steps run on, as Go names it; "" is this one's.
	Architecture string
	// StartTimeout is how long a pod may take until its command runs, the pull of the image
	// and the wait for a node with room included; 0 means 10 minutes.
	StartTimeout time.Duration
	// PullTimeout is how long an image that cannot be pulled is tried; 0 means one minute.
	PullTimeout time.Duration
	// MaxWall is how long a pod may live at most whose step has no Limits.Wall; 0 means
	// 24 hours.
	MaxWall time.Duration
	// DiskBytes bounds a step's folders together, and what it may send back; 0 means 20 GiB.
	DiskBytes int64
	// TmpfsBytes bounds /tmp, /run, /dev/shm and every Tmpfs mount without a size, each on
	// its own; 0 means 1 GiB. They count as the step's memory.
	TmpfsBytes int64
	// ReturnedFiles bounds how many files may have changed when a step ends; 0 means 1,000,000.
	ReturnedFiles int
	// TrustNetworkPolicies runs steps without network unproven: on a cluster that is known to
	// keep network policies, and where the proof is impossible.
	TrustNetworkPolicies bool
}

// Executor runs steps as pods.
type Executor struct {
	config *rest.Config
	client kubernetes.Interface
	images Images
	opt    Options
	self   string // of this process alone

	mu     sync.Mutex
	probes []string // addresses that answer pods with a network, once known
}

var _ executor.Executor = (*Executor)(nil)

// New gives an executor for the cluster that config reaches. It asks the cluster nothing:
// call Sweep once.
func New(config *rest.Config, images Images, opt Options) (*Executor, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fault.New(fault.Usage, "reach the cluster", config.Host, err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fault.New(fault.Failed, "name the executor", "", err)
	}
	opt.Namespace = cmp.Or(opt.Namespace, DefaultNamespace)
	opt.ServiceAccount = cmp.Or(opt.ServiceAccount, DefaultServiceAccount)
	opt.Owner = label(cmp.Or(opt.Owner, host))
	opt.Architecture = cmp.Or(opt.Architecture, runtime.GOARCH)
	opt.StartTimeout = cmp.Or(opt.StartTimeout, 10*time.Minute)
	opt.PullTimeout = cmp.Or(opt.PullTimeout, time.Minute)
	opt.MaxWall = cmp.Or(opt.MaxWall, 24*time.Hour)
	opt.DiskBytes = cmp.Or(opt.DiskBytes, 20<<30)
	opt.TmpfsBytes = cmp.Or(opt.TmpfsBytes, 1<<30)
	opt.ReturnedFiles = cmp.Or(opt.ReturnedFiles, 1_000_000)
	return &Executor{config: config, client: client, images: images, opt: opt, self: strings.ToLower(rand.Text())}, nil
}

// Run runs the step; see executor.Executor. A step of uid 0 is refused, since no pod of
// restricted pod security may be root. A ReadWrite folder is a copy: what the step made of
// it is there when Run returns without an error, and what others change meanwhile is not
// seen. A pod that is lost is an error of kind Unavailable: the step has ended with it.
func (e *Executor) Run(ctx context.Context, step executor.Step, stdout, stderr io.Writer) (executor.Result, error) {
	if err := check(step); err != nil {
		return executor.Result{}, err
	}
	plan, err := e.plan(step)
	if err != nil {
		return executor.Result{}, err
	}
	ref, err := e.images.Ref(ctx, step.Layers)
	if err != nil {
		return executor.Result{}, err
	}
	r := &run{executor: e, step: step, plan: plan, image: ref, to: [2]io.Writer{stdout, stderr}}
	return r.do(ctx)
}

// check says what is wrong with a step, here and everywhere.
func check(step executor.Step) error {
	if err := executor.Check(step); err != nil {
		return err
	}
	if step.UID == 0 {
		return fault.Newf(fault.Usage, "run step", step.Command[0], "a pod's user is not root").
			WithHint("give the step another uid than 0, such as the builder's")
	}
	for _, m := range step.Mounts {
		if strings.Contains(m.Target, ":") {
			return fault.Newf(fault.Usage, "run step", step.Command[0], "a pod can mount nothing on "+m.Target+", for the colon in it")
		}
	}
	return nil
}
