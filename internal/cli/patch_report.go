package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/site/remedy"
	"plimsoll.dev/plimsoll/internal/update"
)

func newPatchReport(env *Env) *cobra.Command {
	verify, envelope := false, false
	cmd := &cobra.Command{
		Use:   "report NAME",
		Short: "Show the signed proof of a patch: every image before and after",
		Long: `Report shows what became of each image of a patch that has ended: the digests before and after,
which findings are gone, and which are left and why. The report is signed with the home's key for
attestations when the patch ends; --envelope gives it as that was signed (DSSE v1), for others to
verify.` + "\n" + exitCodes,
		Example: `  plimsoll patch report ssl --verify
  plimsoll patch report ssl -o json
  plimsoll patch report ssl --envelope > ssl.dsse.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPatchReport(cmd.Context(), env, args[0], verify, envelope)
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "fail unless somebody whom the home trusts has signed it")
	cmd.Flags().BoolVar(&envelope, "envelope", false, "write the signed envelope itself")
	return cmd
}

// verifiedReport is a report as scripts see it.
type verifiedReport struct {
	update.Report
	SignedBy string `json:"signedBy,omitempty"` // where that was verified
}

func runPatchReport(ctx context.Context, env *Env, name string, verify, envelope bool) error {
	engine, err := env.engine(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	var out verifiedReport
	var sealed []byte
	if out.Report, sealed, err = engine.Report(ctx, name); err != nil {
		return err
	}
	if verify {
		if out.SignedBy, err = (remedy.Signer{Home: env.home()}).Verify(ctx, sealed); err != nil {
			return err
		}
	}
	if envelope {
		_, err := fmt.Fprintf(env.Out, "%s\n", sealed)
		return err
	}
	return env.print(out, func(w io.Writer) { printReport(w, out) })
}

func printReport(w io.Writer, r verifiedReport) {
	fmt.Fprintf(w, "patch\t%s, run %d\n", visible(r.Patch), r.Run)
	fmt.Fprintf(w, "outcome\t%s", r.Outcome)
	if r.Why != "" {
		fmt.Fprintf(w, ": %s", visible(r.Why))
	}
	fmt.Fprintf(w, "\nended\t%s\n", clock(r.Ended))
	if r.SignedBy != "" {
		fmt.Fprintf(w, "signed by\t%s\n", visible(r.SignedBy))
	}
	fmt.Fprintln(w, "\nIMAGE\tREMEDY\tSTATE\tBEFORE\tAFTER\tGONE\tLEFT")
	for _, i := range r.Images {
		left := strings.Join(i.Left, "; ")
		if i.Error != "" {
			left = strings.TrimPrefix(left+"; "+i.Error, "; ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", visible(i.Reference), i.Remedy, i.State, short(i.Before), orDash(short(i.After)), len(i.Gone), visible(orDash(cut(left, 120))))
	}
}
