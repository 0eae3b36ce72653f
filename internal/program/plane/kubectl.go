package plane

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Kubectl runs the kubectl that comes along, on the control plane of the home, unless the
// environment names another. When that fails it has said so itself: the error is a *cli.Exited.
func Kubectl(ctx context.Context, home string, getenv func(string) string, in io.Reader, out, errs io.Writer, args []string) error {
	program, err := kubernetes(getenv)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"kubectl"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.Env = os.Environ()
	own := filepath.Join(home, "kubernetes", "admin.kubeconfig")
	if getenv("KUBECONFIG") == "" {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+own)
	}
	err = cmd.Run()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		failed := &cli.Exited{Code: max(exited.ExitCode(), 1)} // it is -1 of one that was killed
		if getenv("KUBECONFIG") == "" && !answers(ctx, own) {
			failed.Hint = "no control plane of this home answers: start it with plimsoll up"
		}
		return failed
	}
	if err != nil {
		return fault.New(fault.Failed, "run kubectl", program, err)
	}
	return nil
}

// answers says whether the API that a kubeconfig names takes connections.
func answers(ctx context.Context, kubeconfig string) bool {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return false
	}
	api, err := url.Parse(config.Host)
	if err != nil {
		return false
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", api.Host)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
