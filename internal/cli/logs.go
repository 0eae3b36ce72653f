package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
)

// LogsOptions say which log is read, and where.
type LogsOptions struct {
	Kind string // "image" or "build"; "" is a Build of that name, else an Image
	Name string

	Namespace      string // "" is that of the kubeconfig
	Number         int64  // of the Image's Build; 0 is the newest from source
	Follow         bool   // as it goes on, until the Build has ended
	Step           string // only what this one printed; "" is all
	Kubeconfig     string // "" is $KUBECONFIG, else that of the home
	Page           string // where the control plane serves its page; "" is that of the home, or by the API server
	ControlPlane   string // namespace that the chart was installed in, where there is no Page
	ServiceAccount string // of the Build's namespace, whose rights count; "" is whom the kubeconfig names
}

func newLogs(env *Env) *cobra.Command {
	var o LogsOptions
	cmd := &cobra.Command{
		Use:   "logs IMAGE|BUILD",
		Short: "Show what a build of the control plane printed",
		Long: `Logs shows the log of a Build, or of an Image's newest Build from source: while it runs and as long as
it is kept. Rebases run nothing, and have none. Where an Image and a Build have one name, say which is
meant: image/NAME, build/NAME.

It speaks to the control plane of this home, unless KUBECONFIG or --kubeconfig names another. Of one
that the chart has installed it reads through the API server, for which you need the right to get
services/proxy in its namespace; or name with --page where its ingress serves it. You must be let get
builds/log, as Kubernetes' own role view lets. A kubeconfig that has a certificate and no token shows
who you are to the API server alone: name with --service-account one that may read.` + "\n" + exitCodes,
		Example: `  plimsoll logs shop --namespace team --follow
  plimsoll logs shop --build 3 --step build
  plimsoll logs shop --page https://plimsoll.example.com`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runLogs(cmd.Context(), env, o, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.Namespace, "namespace", "n", "", "namespace of the Image (default: that of the kubeconfig)")
	flags.BoolVarP(&o.Follow, "follow", "f", false, "go on as the Build does, until it has ended")
	flags.Int64Var(&o.Number, "build", 0, "number of the Image's Build (default: the newest from source)")
	flags.StringVar(&o.Step, "step", "", "only what this step printed: analyze, detect, restore, build, export")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "of the cluster (default: $KUBECONFIG, else this home's)")
	flags.StringVar(&o.Page, "page", env.Getenv("PLIMSOLL_PAGE"), "address of the control plane's page (default: $PLIMSOLL_PAGE, else by the API server)")
	flags.StringVar(&o.ControlPlane, "control-plane", "plimsoll-system", "namespace of the control plane that the chart has installed")
	flags.StringVar(&o.ServiceAccount, "service-account", "", "service account of the Image's namespace to read as (default: whom the kubeconfig names)")
	return cmd
}

func runLogs(ctx context.Context, env *Env, o LogsOptions, name string) error {
	o.Name = name
	if kind, rest, ok := strings.Cut(name, "/"); ok {
		o.Kind, o.Name = strings.TrimSuffix(kind, "s"), rest
	}
	switch {
	case o.Kind != "" && o.Kind != "image" && o.Kind != "build", o.Name == "", strings.Contains(o.Name, "/"):
		return fault.Newf(fault.Usage, "read arguments", name, "want the name of an Image or a Build").WithHint("say the namespace with --namespace")
	case o.Number < 0, o.Number > 0 && o.Kind == "build":
		return fault.Newf(fault.Usage, "read flags", "--build", "want the number of an Image's Build, from 1")
	case o.Number > 0:
		o.Kind = "image"
	}
	return env.Logs(ctx, o)
}
