package plane

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Kubectl runs the kubectl that comes along, on the control plane of the home, unless the
// environment names another. What it says is for people; its error says only that it failed.
func Kubectl(ctx context.Context, home string, getenv func(string) string, in io.Reader, out, errs io.Writer, args []string) error {
	program, err := kubernetes(getenv)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"kubectl"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.Env = os.Environ()
	if getenv("KUBECONFIG") == "" {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+filepath.Join(home, "kubernetes", "admin.kubeconfig"))
	}
	err = cmd.Run()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		return fault.Newf(fault.Failed, "run kubectl", "", exited.Error()).WithHint("what it printed is above; is the control plane running? plimsoll up")
	}
	return err
}
