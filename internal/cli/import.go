package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/oci/bundle"
	"plimsoll.dev/plimsoll/internal/site/judge"
	"plimsoll.dev/plimsoll/internal/site/verify"
)

type importOptions struct {
	verifyOptions
	file, to           string
	unverified, dryRun bool
}

func newImport(env *Env) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import -f FILE",
		Short: "Verify a bundle of images and put them into a registry",
		Long: `Import reads a file that "plimsoll export" wrote, verifies every image in it as "plimsoll verify"
does, and only then writes them, with all that is attached to them, to the local store, or to
the registry that --to names. One image that is not verified stops all. It may be interrupted and
run again: what is there is not sent twice. Every blob is read before the first is written. A FILE of - is standard input.

Give the public keys of those who made the bundle by another way than the bundle itself.` + "\n" + exitCodes,
		Example: `  plimsoll import -f bundle.tar --key images.pub --attestation-key attestations.pub
  plimsoll import -f bundle.tar --to registry.example.com/imported --key images.pub`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runImport(cmd.Context(), env, o) },
	}
	o.flags(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "file", "f", "", "file of the bundle; - is standard input")
	flags.StringVar(&o.to, "to", "", "registry, with a path if need be, to write to (default: the local store)")
	flags.BoolVar(&o.unverified, "unverified", false, "verify nothing but digests")
	flags.BoolVar(&o.dryRun, "dry-run", false, "verify and write nothing")
	_ = cmd.MarkFlagRequired("file")
	return cmd
}

func runImport(ctx context.Context, env *Env, o importOptions) error {
	b, err := openBundle(env, o.file)
	if err != nil {
		return err
	}
	defer b.Close()
	if len(b.Names()) == 0 {
		return fault.Newf(fault.Usage, "read bundle", o.file, "it names no image").
			WithHint("it was made by another tool: name its images in full")
	}
	var out []imported
	for _, image := range b.Names() {
		to, err := o.target(image.Name)
		if err != nil {
			return err
		}
		out = append(out, imported{Name: image.Name, To: to.String(), Digest: image.Digest.String(), image: image, ref: to})
	}
	if !o.unverified {
		if err := o.verify(ctx, env, b, out); err != nil {
			return err
		}
	}
	if err := b.Check(ctx); err != nil {
		return err
	}
	if !o.dryRun {
		session := env.Registries.Session()
		for i := range out {
			if out[i].Sent, err = b.Push(ctx, session, out[i].image, out[i].ref); err != nil {
				return err
			}
			judge.Remember(ctx, env.home(), out[i].To)
		}
	}
	return env.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "NAME\tTO\tDIGEST\tVERIFIED\tSENT\n")
		for _, i := range out {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", visible(i.Name), i.To, i.Digest, yesNo(i.Verified), size(i.Sent))
		}
	})
}

// imported is what `import` gives a script of each image.
type imported struct {
	Name     string `json:"name"` // in the bundle
	To       string `json:"to"`
	Digest   string `json:"digest"`
	Verified bool   `json:"verified"`
	Sent     int64  `json:"sent"` // bytes

	image bundle.Named
	ref   oci.Reference
}

// openBundle opens the file, or a copy of standard input: a bundle is not read in order.
func openBundle(env *Env, file string) (*bundle.Bundle, error) {
	if file != "-" {
		return bundle.Open(file)
	}
	temp, err := os.CreateTemp("", "plimsoll-bundle-")
	if err != nil {
		return nil, fault.New(fault.Failed, "read bundle", "standard input", err)
	}
	defer os.Remove(temp.Name()) // what is open stays readable
	defer temp.Close()
	if _, err := io.Copy(temp, env.In); err != nil {
		return nil, fault.New(fault.Failed, "read bundle", "standard input", err)
	}
	return bundle.Open(temp.Name())
}

// target gives where an image of the bundle goes: its repository and tag without the host
// it came from, below --to.
func (o importOptions) target(name string) (oci.Reference, error) {
	from, err := oci.ParseTag(name)
	if err != nil {
		return from, fault.Newf(fault.Usage, "read bundle", o.file, "it names an image "+visible(name)+", which is no reference").
			WithHint("it was made by another tool: name its images in full")
	}
	path := from.Context().RepositoryStr() + ":" + from.Identifier()
	if o.to != "" {
		return oci.ParseTag(strings.TrimSuffix(o.to, "/") + "/" + path)
	}
	to, err := oci.ParseTag(path)
	if err == nil && !to.IsLocal() {
		// The bundle does not choose a registry, and whose credentials are sent there.
		return to, fault.Newf(fault.Usage, "read bundle", o.file, "it names an image "+visible(name)+", which begins with a host after its own").
			WithHint("say with --to where it goes")
	}
	return to, err
}

// verify verifies all images where they are, in the bundle.
func (o importOptions) verify(ctx context.Context, env *Env, b *bundle.Bundle, images []imported) error {
	want, err := o.wanted()
	if err != nil {
		return err
	}
	trust, err := o.trust(ctx, env)
	if err != nil {
		return err
	}
	session := (&oci.Registries{Local: func(context.Context) (http.RoundTripper, error) { return b.Transport(), nil }}).Session()
	for i := range images {
		if err := verifyIn(ctx, session, images[i].image, trust, want); err != nil {
			return err
		}
		images[i].Verified = true
	}
	return nil
}

func verifyIn(ctx context.Context, session *oci.Session, image bundle.Named, trust attest.Trust, want []string) error {
	here, err := oci.Parse("bundle") // in which every repository holds every digest
	if err != nil {
		return err
	}
	report, err := verify.All(ctx, session, here.At(image.Digest), trust, want)
	if err != nil {
		return err
	}
	report.Ref = image.Name
	return report.Err()
}
