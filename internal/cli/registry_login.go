package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/login"
)

type loginOptions struct {
	user, issuer    string
	stdin, byDevice bool
}

func newRegistryLogin(env *Env) *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login HOST",
		Short: "Log in at a plimsoll registry, for every tool that reads docker's configuration",
		Long: `Login lets you log in at the issuer that the registry names, in a browser, or with a user name
and password. What is kept, in docker's configuration or its credential helper, is a token that
ends by itself: no password.` + "\n" + exitCodes,
		Example: `  plimsoll registry login registry.example.com
  plimsoll registry login registry.example.com --device
  plimsoll registry login registry.example.com --username ann --password-stdin < password`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runRegistryLogin(cmd.Context(), env, args[0], o) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.user, "username", "u", "", "log in with the password of this user, or with the secret of a robot")
	flags.BoolVar(&o.stdin, "password-stdin", false, "read the password from standard input")
	flags.StringVar(&o.issuer, "issuer", "", "the issuer to log in at, where the registry names several")
	flags.BoolVar(&o.byDevice, "device", false, "log in with a browser on another machine")
	cmd.MarkFlagsMutuallyExclusive("username", "issuer")
	cmd.MarkFlagsMutuallyExclusive("username", "device")
	return cmd
}

func runRegistryLogin(ctx context.Context, env *Env, host string, o loginOptions) error {
	origin, host, err := loginAt(host)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 30 * time.Second}
	registry, err := login.Ask(ctx, client, origin)
	if err != nil {
		return err
	}
	token, err := env.logIn(ctx, registry, o)
	if err != nil {
		return err
	}
	if err := login.Store(host, cmp.Or(o.user, "oidc"), token); err != nil {
		return err
	}
	return env.print(map[string]string{"registry": host}, func(w io.Writer) { fmt.Fprintf(w, "logged in at %s\n", host) })
}

// loginAt gives the address of a registry, and its host as tools name it. Secrets go over TLS, but
// for a registry on this machine that has none.
func loginAt(text string) (origin, host string, err error) {
	host, tls := strings.CutPrefix(text, "https://")
	where, err := name.NewRegistry(host, name.StrictValidation)
	if err != nil {
		return "", "", fault.New(fault.Usage, "log in", text, err).WithHint("name the registry as HOST or HOST:PORT")
	}
	bare, _, _ := strings.Cut(where.RegistryStr(), ":")
	if ip := net.ParseIP(bare); !tls && (bare == "localhost" || ip != nil && ip.IsLoopback()) {
		return "http://" + host, host, nil
	}
	return "https://" + host, host, nil
}

func (env *Env) logIn(ctx context.Context, registry *login.Registry, o loginOptions) (string, error) {
	if o.user != "" {
		password, err := env.loginPassword(o)
		if err != nil {
			return "", err
		}
		return registry.Password(ctx, o.user, password)
	}
	issuer, err := registry.Issuer(o.issuer)
	if err != nil {
		return "", err
	}
	at := registry.AtIssuer
	if o.byDevice {
		at = registry.ByDevice
	}
	token, err := at(ctx, issuer, func(line string) { fmt.Fprintln(env.Err, visible(line)) })
	if err != nil {
		return "", err
	}
	return registry.IDToken(ctx, token)
}

func (env *Env) loginPassword(o loginOptions) (string, error) {
	if o.stdin {
		line, err := bufio.NewReader(io.LimitReader(env.In, 64<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fault.New(fault.Failed, "read password", "", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	in, ok := env.In.(*os.File)
	if !ok || !env.Terminal || !term.IsTerminal(int(in.Fd())) {
		return "", fault.Newf(fault.Usage, "read password", o.user, "there is no terminal to ask at").
			WithHint("give it on standard input with --password-stdin")
	}
	fmt.Fprintf(env.Err, "password of %s: ", visible(o.user))
	defer fmt.Fprintln(env.Err)
	text, err := term.ReadPassword(int(in.Fd()))
	if err != nil {
		return "", fault.New(fault.Failed, "read password", o.user, err)
	}
	return string(text), nil
}

func newRegistryLogout(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "logout HOST",
		Short: "Forget a login",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_, host, err := loginAt(args[0])
			if err != nil {
				return err
			}
			return login.Forget(host)
		},
	}
}
