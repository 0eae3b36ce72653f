package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/verify"
)

type verifyOptions struct {
	trustOptions
	want []string
	show string
	only bool // nothing is wanted but what is to be shown
}

func newVerify(env *Env) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify REF",
		Short: "Verify who vouches for an image, and for what",
		Long: `Verify reads the signatures and attestations beside an image, says of each what it is, who signed
it and whether that is someone to believe, and what is missing. Of an index it verifies the index
and every image. Nothing is asked but the image's own registry.

Whom to believe: the keys given with --key and --attestation-key, or an identity; without any
of these this home's own keys and those in signing.yaml (docs/signing.md). An attestation never
counts as a signature, whichever key signed it.

What must be there: --want, default signature,spdx,cyclonedx,provenance. Who wants malware or tests
wants them good: a report of infected files, and tests that failed, are denied. --show prints what was
signed instead, as JSON, once it is verified: a document for each image that has it. Without --want
nothing else must be there then.` + "\n" + exitCodes,
		Example: `  plimsoll verify shop:1
  plimsoll verify registry.example.com/shop:1 --key images.pub --attestation-key attestations.pub
  plimsoll verify registry.example.com/theirs:1 --key theirs.pub --want signature
  plimsoll verify shop:1 --want signature,malware
  plimsoll verify shop:1 --show provenance
  plimsoll verify registry.example.com/shop:1 --trusted-root root.json --issuer https://id.example.com --subject ci@example.com`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.only = o.show != "" && !cmd.Flags().Changed("want")
			return runVerify(cmd.Context(), env, o, args[0])
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.show, "show", "", "print this evidence, named as for --want")
	return cmd
}

func (o *verifyOptions) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Keys, "key", nil, "public key that signs images: a file, env://NAME or a URI")
	flags.StringSliceVar(&o.AttestationKeys, "attestation-key", nil, "public key that signs attestations (default: those of --key)")
	flags.StringVar(&o.Identity.Issuer, "issuer", "", "who issued the identity that a certificate names, a URL")
	flags.StringVar(&o.Identity.IssuerRegexp, "issuer-regexp", "", "the same as a regular expression")
	flags.StringVar(&o.Identity.Subject, "subject", "", "the identity: an address or a workflow")
	flags.StringVar(&o.Identity.SubjectRegexp, "subject-regexp", "", "the same as a regular expression")
	flags.StringVar(&o.Root, "trusted-root", "", "file of a Sigstore trusted root, to verify certificates and logs with")
	flags.StringSliceVar(&o.want, "want", []string{"signature", "spdx", "cyclonedx", "provenance"}, "what must be there: signature, spdx, cyclonedx, provenance, hardening, malware, tests, vex, vulns, vsa, or a predicate type")
}

func runVerify(ctx context.Context, env *Env, o verifyOptions, arg string) error {
	ref, err := oci.Parse(arg)
	if err != nil {
		return err
	}
	want, err := o.wanted()
	if err != nil {
		return err
	}
	trust, err := o.trust(ctx, env)
	if err != nil {
		return err
	}
	report, err := verify.All(ctx, env.Registries.Session(), ref, trust, want)
	if err != nil {
		return err
	}
	if o.show != "" && (report.Verified || o.only && report.Has()) {
		return show(env.Out, report, verify.Predicates([]string{o.show})[0])
	}
	if err := env.print(report, func(w io.Writer) { printVerified(w, report) }); err != nil {
		return err
	}
	return report.Err()
}

// show prints the predicates of one type, as they were signed.
func show(w io.Writer, v *verify.Report, predicate string) error {
	shown := false
	for _, part := range v.Parts {
		for _, e := range part.Evidence() {
			if e.PredicateType != predicate {
				continue
			}
			var out bytes.Buffer
			if err := json.Indent(&out, e.Predicate, "", "  "); err != nil {
				return err
			}
			fmt.Fprintln(w, out.String())
			shown = true
		}
	}
	if !shown {
		return fault.Newf(fault.NotFound, "verify", v.Ref, "nobody who is trusted says anything of type "+verify.Name(predicate)).
			WithHint("see what is there without --show")
	}
	return nil
}

// wanted gives the types that must be there: those of --want, or the one that is shown.
func (o verifyOptions) wanted() ([]string, error) {
	if o.show != "" {
		shown, err := verify.Types("--show", o.show)
		if err != nil || o.only {
			return shown, err
		}
	}
	return verify.Types("--want", o.want...)
}

func printVerified(w io.Writer, v *verify.Report) {
	fmt.Fprintf(w, "%s@%s\n", v.Ref, v.Digest)
	for _, part := range v.Parts {
		if part.Platform != "" {
			fmt.Fprintf(w, "\n%s %.19s\n", visible(part.Platform), part.Image)
		}
		fmt.Fprintf(w, "\nEVIDENCE\tVERIFIED\tSAYS\tBY\tSTORED AS\n")
		for _, c := range part.Checks {
			by := c.By
			if !c.Verified {
				by = c.Why
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", visible(verify.Name(c.Predicate)), yesNo(c.Verified), visible(c.Says), visible(by), forms(c.Forms))
		}
		for _, m := range part.Missing {
			fmt.Fprintf(w, "%s\tMISSING\t\t%s\t\n", visible(verify.Name(m.Predicate)), visible(m.Why))
		}
	}
	if v.Verified {
		fmt.Fprintf(w, "\nverified: all that is wanted is there\n")
	}
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func forms(all []attest.Form) string {
	var out []string
	for _, f := range all {
		out = append(out, string(f))
	}
	return strings.Join(out, ", ")
}

// trustOptions are the flags that say whom to believe, instead of what the home says.
type trustOptions struct{ home.Named }

// check refuses flags that name half of somebody.
func (o trustOptions) check() error {
	i := o.Identity
	issuer, subject := i.Issuer+i.IssuerRegexp, i.Subject+i.SubjectRegexp
	switch {
	case len(o.AttestationKeys) > 0 && len(o.Keys) == 0 && i == (attest.Identity{}):
		return fault.Newf(fault.Usage, "read flags", "--attestation-key", "nothing says who signs images").
			WithHint("name that key with --key; without --attestation-key it counts for attestations too")
	case issuer != "" && subject == "":
		return fault.Newf(fault.Usage, "read flags", "--issuer", "without a subject it would be anybody whom that issuer knows").
			WithHint("name the identity with --subject or --subject-regexp")
	case subject != "" && issuer == "":
		return fault.Newf(fault.Usage, "read flags", "--subject", "without an issuer it would be whoever anybody calls so").
			WithHint("name who issued the identity with --issuer or --issuer-regexp")
	}
	return nil
}

// trust gives whom the flags name; without any, whom the home believes.
func (o trustOptions) trust(ctx context.Context, env *Env) (attest.Trust, error) {
	if err := o.check(); err != nil {
		return attest.Trust{}, err
	}
	return env.home().Trust(ctx, o.Named)
}
