package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
)

// UpOptions say what a control plane runs and where it is reached.
type UpOptions struct {
	Kubeconfig string // of a cluster that is there; "" with InCluster false is one of the home's own
	InCluster  bool   // the cluster that this program runs in as a pod
	Node       bool   // this machine runs pods
	Pods       bool   // build steps are pods; else they run in this machine's sandbox

	Registry        string // address to serve the home's registry at; "" with Publish given serves none
	Publish         string // registry that images without one in their tag go to, instead of the home's own
	TLSCert, TLSKey string // of the registry
	Environment     string // by which policies know this registry
	Page            string // address of the page of links, logs and webhooks
	Health, Metrics string // addresses; "" serves none
	Leader          string // namespace of the lease when there are several replicas; "" is a single one
	Advertise       string // IP by which other replicas reach this one's page; "" has them hand nothing on
	StepsNamespace  string // where the pods of build steps run
	Parts           string // folder of the lifecycle and the buildpacks; "" is the program's own
	Parallel        int    // builds at a time; 0 is one for each two processors
	NoDefinitions   bool   // the cluster knows the resources already, from the chart
}

// UpState is what runs once a control plane is ready.
type UpState struct {
	Kubeconfig string        `json:"kubeconfig,omitempty"`
	API        string        `json:"api"`
	Registry   string        `json:"registry,omitempty"`
	Page       string        `json:"page,omitempty"`
	Versions   []UpVersion   `json:"versions,omitempty"`
	Took       time.Duration `json:"nanoseconds"`
}

// UpVersion is a program that runs and its version.
type UpVersion struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

func newUp(env *Env) *cobra.Command {
	var o UpOptions
	var executor string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the control plane: Kubernetes' API, the registry, and what keeps images patched",
		Long: `Up starts a Kubernetes API of this home's own, with users, roles and certificates, the registry
with its gate, and the controllers that keep what is declared so: bases, builders, images,
policies, feeds, campaigns. It runs until it is interrupted; then it ends what is under way and
stops. Started again it goes on where it was.

--node makes this machine a node of that cluster, too: it runs real pods, and build steps are
pods. It needs root, containerd, runc and the CNI plugins (scripts/setup). --kubeconfig takes a
cluster that is there instead.

docs/control-plane.md takes you from nothing to images that mend themselves;
docs/kubernetes.md does the same on a cluster that you have.` + "\n" + exitCodes,
		Example: `  plimsoll up
  plimsoll up --node
  plimsoll up --kubeconfig ~/.kube/config --publish registry.example.com/team`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUp(cmd.Context(), env, o, executor) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "use the cluster of this file instead of one of the home's own")
	flags.BoolVar(&o.InCluster, "in-cluster", false, "use the cluster that this program runs in as a pod")
	flags.BoolVar(&o.Node, "node", false, "make this machine a node that runs pods")
	flags.StringVar(&executor, "executor", "", "where build steps run: sandbox or pod (default: pod with --node and --in-cluster, else sandbox)")
	flags.StringVar(&o.Registry, "registry", "127.0.0.1:5000", "address to serve the registry at; with --node also the node's, at the same port")
	flags.StringVar(&o.Publish, "publish", "", "publish to this registry instead of serving one")
	flags.StringVar(&o.TLSCert, "tls-cert", "", "PEM file of the registry's certificate with its chain")
	flags.StringVar(&o.TLSKey, "tls-key", "", "PEM file of the certificate's key")
	flags.StringVar(&o.Environment, "environment", "", "environment that policies know the registry by, such as production")
	flags.StringVar(&o.Page, "page", "127.0.0.1:5080", "address of the page of links, of logs and of webhooks")
	flags.StringVar(&o.Health, "health", "", "address of /healthz and /readyz for probes")
	flags.StringVar(&o.Metrics, "metrics", "", "address of /metrics of the controllers")
	flags.StringVar(&o.Leader, "leader-election", "", "namespace of the lease by which one of several replicas leads")
	flags.StringVar(&o.Advertise, "advertise", "", "IP by which other replicas reach this one's page, to hand on what only the leader answers")
	flags.StringVar(&o.StepsNamespace, "steps-namespace", "plimsoll-steps", "namespace of the pods of build steps")
	flags.StringVar(&o.Parts, "parts", "", "folder that paths in Builders are below (default: where this program is)")
	flags.IntVar(&o.Parallel, "parallel", 0, "builds at a time (default: one for each two processors)")
	flags.BoolVar(&o.NoDefinitions, "no-definitions", false, "do not declare the resources: the chart has done so")
	cmd.MarkFlagsMutuallyExclusive("kubeconfig", "in-cluster", "node")
	return cmd
}

func runUp(ctx context.Context, env *Env, o UpOptions, executor string) error {
	switch executor {
	case "":
		o.Pods = o.Node || o.InCluster
	case "pod":
		o.Pods = true
	case "sandbox":
	default:
		return fault.Newf(fault.Usage, "read flags", "--executor "+executor, "want sandbox or pod")
	}
	if o.Pods && !o.Node && !o.InCluster && o.Kubeconfig == "" {
		return fault.Newf(fault.Usage, "read flags", "--executor pod", "there is no node to run pods on").WithHint("add --node, or name a cluster with --kubeconfig")
	}
	return env.Up(ctx, env.Site(), o, func(state UpState) { _ = printUp(env, state) })
}

func printUp(env *Env, state UpState) error {
	return env.print(state, func(w io.Writer) {
		fmt.Fprintf(w, "ready in %.1f s; interrupt to stop\n\n", state.Took.Seconds())
		row := func(name, text string) {
			if text != "" {
				fmt.Fprintf(w, "%s\t%s\n", name, text)
			}
		}
		row("API", state.API)
		row("registry", state.Registry)
		row("page", state.Page)
		if state.Kubeconfig != "" {
			fmt.Fprintf(w, "\nexport KUBECONFIG=%s\n", state.Kubeconfig)
			fmt.Fprintln(w, "plimsoll kubectl get images -A     # or any kubectl")
		}
	})
}

func newKubectl(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl ARGUMENT...",
		Short: "Run the kubectl that comes along, on the control plane of this home",
		Long: `Kubectl is Kubernetes' own, of the version of the control plane. It speaks to the control plane of
this home, unless KUBECONFIG or --kubeconfig names another. The exit code is kubectl's own.`,
		Example: `  plimsoll kubectl get images -A
  plimsoll kubectl explain image.spec`,
		DisableFlagParsing: true,
		RunE:               func(cmd *cobra.Command, args []string) error { return env.Kubectl(cmd.Context(), args) },
	}
}
