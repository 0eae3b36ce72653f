package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

type verifyOptions struct {
	trustOptions
	want []string
	show string
	only bool // nothing is wanted but what is to be shown
}

// wants are the short names of predicate types.
var wants = []struct{ name, predicate string }{
	{"signature", artifact.PredicateSignature},
	{"spdx", artifact.PredicateSPDX},
	{"cyclonedx", artifact.PredicateCycloneDX},
	{"provenance", artifact.PredicateProvenance},
	{"hardening", artifact.PredicateHardening},
	{"malware", artifact.PredicateMalware},
	{"tests", artifact.PredicateTestResult},
	{"vex", artifact.PredicateVEX},
	{"vulns", artifact.PredicateVulns},
	{"vsa", artifact.PredicateVSA},
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
	flags.StringSliceVar(&o.keys, "key", nil, "public key that signs images: a file, env://NAME or a URI")
	flags.StringSliceVar(&o.attestationKeys, "attestation-key", nil, "public key that signs attestations (default: those of --key)")
	flags.StringVar(&o.identity.Issuer, "issuer", "", "who issued the identity that a certificate names, a URL")
	flags.StringVar(&o.identity.IssuerRegexp, "issuer-regexp", "", "the same as a regular expression")
	flags.StringVar(&o.identity.Subject, "subject", "", "the identity: an address or a workflow")
	flags.StringVar(&o.identity.SubjectRegexp, "subject-regexp", "", "the same as a regular expression")
	flags.StringVar(&o.root, "trusted-root", "", "file of a Sigstore trusted root, to verify certificates and logs with")
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
	trust, err := env.trust(ctx, o.trustOptions)
	if err != nil {
		return err
	}
	report, err := verifyAll(ctx, env.Registries.Session(), ref, trust, want)
	if err != nil {
		return err
	}
	if o.show != "" && (report.Verified || o.only && report.has()) {
		return report.show(env.Out, predicates([]string{o.show})[0])
	}
	if err := env.print(report, report.table); err != nil {
		return err
	}
	return report.err()
}

// has says whether nothing that is wanted of the images is missing, whatever it says of them.
func (v *verified) has() bool {
	return !slices.ContainsFunc(v.Parts, func(part verifiedImage) bool {
		return part.Platform != indexPart && len(part.Missing) > 0
	})
}

// show prints the predicates of one type, as they were signed.
func (v *verified) show(w io.Writer, predicate string) error {
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
		return fault.Newf(fault.NotFound, "verify", v.Ref, "nobody who is trusted says anything of type "+predicateName(predicate)).
			WithHint("see what is there without --show")
	}
	return nil
}

// wanted gives the types that must be there: those of --want, or the one that is shown.
func (o verifyOptions) wanted() ([]string, error) {
	if o.show != "" {
		shown, err := types("--show", o.show)
		if err != nil || o.only {
			return shown, err
		}
	}
	return types("--want", o.want...)
}

// types gives the types of the words of a flag. A word that is none would be missed in every
// image, which is not the image's fault.
func types(flag string, words ...string) ([]string, error) {
	all := predicates(words)
	for i, predicate := range all {
		if !strings.Contains(predicate, "://") {
			return nil, fault.Newf(fault.Usage, "read flags", flag+" "+words[i], "it is neither a type that is known nor a URI").
				WithHint("want signature, spdx, cyclonedx, provenance, hardening, malware, tests, vex, vulns, vsa or a URI")
		}
	}
	return all, nil
}

// predicates gives the types of those names.
func predicates(names []string) []string {
	var out []string
	for _, name := range names {
		predicate := name
		for _, w := range wants {
			if w.name == name {
				predicate = w.predicate
			}
		}
		out = append(out, predicate)
	}
	return out
}

// predicateName is the short name of a type, or the type itself.
func predicateName(predicate string) string {
	for _, w := range wants {
		if w.predicate == predicate {
			return w.name
		}
	}
	return predicate
}

// verified is what `verify` gives a script.
type verified struct {
	Ref      string          `json:"ref"`
	Digest   string          `json:"digest"`
	Verified bool            `json:"verified"`
	Parts    []verifiedImage `json:"images"` // the image; or the index, then its images
}

// indexPart stands for an index where images have their platform.
const indexPart = "index"

type verifiedImage struct {
	Platform string `json:"platform"` // indexPart for an index
	attest.Report
	Refused []attest.Missing `json:"refused,omitempty"` // what is wanted, verified, and speaks against the image
}

// verifyAll verifies an image, or an index with all its images: of an index itself only
// the signature is wanted, for all else is said of its images.
func verifyAll(ctx context.Context, session *oci.Session, ref oci.Reference, trust attest.Trust, want []string) (*verified, error) {
	m, err := session.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	out := &verified{Ref: ref.String(), Digest: m.Digest.String(), Verified: true}
	add := func(platform string, digest v1.Hash, want []string) error {
		attached, err := attest.List(ctx, session, ref, digest)
		if err != nil {
			return err
		}
		part := verifiedImage{Platform: platform, Report: attest.Verify(digest, attached, trust, want...)}
		part.heed(want)
		out.Parts, out.Verified = append(out.Parts, part), out.Verified && part.Verified
		return nil
	}
	if m.Index == nil {
		return out, add("", m.Digest, want)
	}
	if err := add(indexPart, m.Digest, []string{artifact.PredicateSignature}); err != nil {
		return nil, err
	}
	refuse := func(why string) error {
		return fault.Newf(fault.Denied, "verify", ref.String(), why).WithHint("verify each of its images by its digest")
	}
	for _, d := range m.Index.Manifests {
		if d.Platform != nil && d.Platform.OS == "unknown" {
			continue // nobody runs it: attestations of other builders
		}
		if !d.MediaType.IsImage() {
			return nil, refuse("its index names something that is no image: " + d.Digest.String())
		}
		platform := "image"
		if d.Platform != nil {
			platform = d.Platform.String()
		}
		if err := add(platform, d.Digest, want); err != nil {
			return nil, err
		}
	}
	if len(out.Parts) == 1 {
		return nil, refuse("its index names no image")
	}
	return out, nil
}

// heed notes what verified claims say. Who wants a malware report or tests wants an image
// that is clean and passes: one that is not is not verified.
func (v *verifiedImage) heed(want []string) {
	for i, c := range v.Checks {
		e, ok := c.Evidence()
		if !ok {
			continue
		}
		said := evidence.Says(e)
		v.Checks[i].Says = cut(said.Text, 120)
		if said.Against && slices.Contains(want, c.Predicate) {
			v.Refused = append(v.Refused, attest.Missing{Predicate: c.Predicate, Why: v.Checks[i].Says})
			v.Verified = false
		}
	}
}

func (v *verified) table(w io.Writer) {
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
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", visible(predicateName(c.Predicate)), yesNo(c.Verified), visible(c.Says), visible(by), forms(c.Forms))
		}
		for _, m := range part.Missing {
			fmt.Fprintf(w, "%s\tMISSING\t\t%s\t\n", visible(predicateName(m.Predicate)), visible(m.Why))
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

// err gives nil for what is verified, else what is missing of which image or speaks against
// it.
func (v *verified) err() error {
	if v.Verified {
		return nil
	}
	var why []string
	hint := "whoever makes the image issues it; `plimsoll attest` does for one that is there"
	for _, part := range v.Parts {
		for _, m := range slices.Concat(part.Refused, part.Missing) {
			name := predicateName(m.Predicate)
			if part.Platform != "" {
				name = part.Platform + " " + name
			}
			why = append(why, name+": "+m.Why)
		}
		switch {
		case len(part.Refused) > 0:
			hint = "see what it says with --show " + predicateName(part.Refused[0].Predicate)
		case slices.ContainsFunc(part.Missing, part.attached):
			hint = "name the keys it should be signed with (--key, --attestation-key), or sign it"
		}
	}
	return fault.Newf(fault.Denied, "verify", v.Ref, visible(strings.Join(why, "; "))).WithHint(hint)
}

// attached says whether what is missing is there, and not verified.
func (v verifiedImage) attached(m attest.Missing) bool {
	return slices.ContainsFunc(v.Checks, func(c attest.Check) bool { return c.Predicate == m.Predicate })
}
