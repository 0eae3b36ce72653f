package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/oci/bundle"
)

func newExport(env *Env) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "export REF... -f FILE",
		Short: "Write images with all their evidence into one file",
		Long: `Export writes the images, each for all its platforms, with all that is attached to them
(signatures, SBOMs, provenance and whatever else) into one file: an OCI image layout as a tar
archive, for sites without a way out. "plimsoll import" verifies it and puts it into a registry
there; other tools read it, too. The same images give the same bytes. A FILE of - is standard
output.

docs/airgap.md tells more.` + "\n" + exitCodes,
		Example: `  plimsoll export shop:1 base:1 -f bundle.tar
  plimsoll export registry.example.com/shop:1 -f - | zstd > bundle.tar.zst`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runExport(cmd.Context(), env, file, args) },
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file to write; - is standard output")
	_ = cmd.MarkFlagRequired("file")
	return cmd
}

func runExport(ctx context.Context, env *Env, file string, args []string) error {
	var refs []oci.Reference
	for _, arg := range args {
		ref, err := oci.Parse(arg)
		if err != nil {
			return err
		}
		refs = append(refs, ref)
	}
	session := env.Registries.Session()
	if file == "-" {
		_, err := bundle.Write(ctx, session, refs, env.Out)
		return err
	}
	var report *bundle.Report
	err := aside.Write(file, func(out *os.File) (err error) {
		report, err = bundle.Write(ctx, session, refs, out)
		return err
	})
	if err != nil {
		return asFault("export", file, err)
	}
	return env.print(report, func(w io.Writer) {
		fmt.Fprintf(w, "NAME\tDIGEST\n")
		for _, image := range report.Images {
			fmt.Fprintf(w, "%s\t%s\n", image.Name, image.Digest)
		}
		fmt.Fprintf(w, "\n%s: %s, %d images with %d attached\n", file, size(report.Bytes), len(report.Images), report.Attached)
	})
}

// asFault gives the error as it is, or as a failure of what was done to which.
func asFault(what, which string, err error) error {
	if fault.HintOf(err) != "" || fault.KindOf(err) != fault.Failed {
		return err
	}
	return fault.New(fault.Failed, what, which, err)
}
