// Command kubernetes is etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet,
// kube-proxy and kubectl, unmodified, in one program: its first argument says which it is.
// "version" says what it is made of.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "kubernetes: say which part to be: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy or kubectl; or version")
		os.Exit(2)
	}
	os.Args = os.Args[1:] // each part reads its own name as the first
	switch os.Args[0] {
	case "etcd":
		etcdmain.Main(os.Args)
	case "version":
		printVersions()
	default:
		os.Exit(cli.Run(part(os.Args[0])))
	}
}

// sources names what this program was compiled from; the linker sets it.
var sources = "unknown"

// printVersions says what this program is made of, a name and a version a line.
func printVersions() {
	fmt.Println("plimsoll", sources)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	for _, made := range info.Deps {
		switch made.Path {
		case "go.etcd.io/etcd/server/v3":
			fmt.Println("etcd", made.Version)
		case "k8s.io/kubernetes":
			fmt.Println("kubernetes", made.Version)
		}
	}
	fmt.Println("go", info.GoVersion)
}

func part(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return controllers.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	case "kube-proxy":
		return proxy.NewProxyCommand()
	case "kubectl":
		return kubectl.NewDefaultKubectlCommand()
	}
	fmt.Fprintf(os.Stderr, "kubernetes: there is no part %q\n", name)
	os.Exit(2)
	return nil
}
