package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/keys"
)

func newKey(env *Env) *cobra.Command {
	return group("key", "Make and show the keys that sign images and evidence", newKeyGenerate(env), newKeyShow(env))
}

func newKeyGenerate(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "generate FILE",
		Short: "Make a key pair to sign with",
		Long: `Generate makes a key pair (ECDSA P-256): the private key in FILE, encrypted with a password,
the public one beside it in FILE with the ending .pub. cosign takes both.

The password is that of $PLIMSOLL_KEY_PASSWORD, else it is asked for. docs/keys.md tells more.` + "\n" + exitCodes,
		Example: `  plimsoll key generate images.key`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := env.home().Keychain().Generate(cmd.Context(), args[0]); err != nil {
				return err
			}
			return showKey(cmd.Context(), env, keys.PublicPath(args[0]))
		},
	}
}

func newKeyShow(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show the public half of a key",
		Long: `Show prints the public key and its fingerprint. NAME is a file, env://NAME, or the URI of a key
in a service.` + "\n" + exitCodes,
		Example: `  plimsoll key show images.pub
  plimsoll key show awskms:///alias/images`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return showKey(cmd.Context(), env, args[0]) },
	}
}

// shownKey is what `key` gives a script.
type shownKey struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	PublicKey   string `json:"publicKey"` // PEM
}

func showKey(ctx context.Context, env *Env, name string) error {
	public, err := env.home().Keychain().Public(ctx, name)
	if err != nil {
		return err
	}
	text, err := keys.PEM(public)
	if err != nil {
		return err
	}
	out := shownKey{Name: name, Fingerprint: keys.Fingerprint(public), PublicKey: string(text)}
	return env.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n%s\n%s", out.Name, out.Fingerprint, out.PublicKey)
	})
}

// askPassword gives nil where no person is there to ask.
func (env *Env) askPassword() func(context.Context, keys.Ask) ([]byte, error) {
	in, ok := env.In.(*os.File)
	if !ok || !env.Terminal || !term.IsTerminal(int(in.Fd())) {
		return nil
	}
	read := func(prompt string) ([]byte, error) {
		fmt.Fprint(env.Err, prompt)
		defer fmt.Fprintln(env.Err)
		return term.ReadPassword(int(in.Fd()))
	}
	return func(_ context.Context, ask keys.Ask) ([]byte, error) {
		first, err := read(fmt.Sprintf("password of %s: ", ask.Key))
		if err != nil || !ask.New {
			return first, err
		}
		second, err := read("once more: ")
		defer clear(second)
		if err == nil && !bytes.Equal(first, second) {
			err = fault.New(fault.Usage, "read password", ask.Key, errors.New("the two differ"))
		}
		return first, err
	}
}
