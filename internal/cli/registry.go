package cli

import "github.com/spf13/cobra"

func newRegistry(_ *Env) *cobra.Command {
	return group("registry", "Serve and keep the registry the images live in")
}
