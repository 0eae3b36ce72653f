package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/cyclonedx"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/spdx"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/site/known"
)

type sbomOptions struct{ form, platform string }

func newSBOM(env *Env) *cobra.Command {
	var o sbomOptions
	cmd := &cobra.Command{
		Use:   "sbom REF",
		Short: "Say what is in an image",
		Long: `Sbom lists the packages of any image, whoever made it: of distributions, of languages, programs
with build information; the files that no package owns; and where the image is not as its
buildpacks declare. Each layer is read once and remembered.

--format spdx gives SPDX 2.3, --format cyclonedx gives CycloneDX 1.6, both as JSON and the same
bytes for the same image. docs/sbom.md tells what is found, and how.` + "\n" + exitCodes,
		Example: `  plimsoll sbom shop:1
  plimsoll sbom registry.example.com/theirs:1 --platform linux/arm64 --format spdx > theirs.spdx.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runSBOM(cmd.Context(), env, o, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.form, "format", "", "spdx or cyclonedx (default: a table, or with -o json the contents as Plimsoll knows them)")
	flags.StringVar(&o.platform, "platform", "", "platform of an image that has several, such as linux/arm64")
	return cmd
}

func runSBOM(ctx context.Context, env *Env, o sbomOptions, text string) error {
	encode := spdx.Encode
	switch o.form {
	case "", "spdx":
	case "cyclonedx":
		encode = cyclonedx.Encode
	default:
		return fault.Newf(fault.Usage, "read flags", "--format "+o.form, "want spdx or cyclonedx")
	}
	found, err := known.Look(ctx, env.home(), text, o.platform)
	if err != nil {
		return err
	}
	if o.form == "" {
		return env.print(found.Contents, func(w io.Writer) { printContents(w, found) })
	}
	about, err := evidence.About(found.Ref, found.Image, env.Version)
	if err != nil {
		return err
	}
	_, err = env.Out.Write(append(encode(found.Contents, about), '\n'))
	return err
}

func printContents(w io.Writer, found *known.Looked) {
	c := found.Contents
	fmt.Fprintf(w, "%s@%s  %s", found.Ref, c.Image, visible(c.Platform))
	if c.Distro.Name != "" {
		fmt.Fprintf(w, "  %s", visible(c.Distro.Name))
	}
	fmt.Fprintf(w, "\n\nTYPE\tPACKAGE\tVERSION\tLICENCE\tIN\tFOUND BY\n")
	for _, p := range c.Packages {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", visible(p.Type), visible(fullName(p)), visible(orDash(p.Version)),
			visible(orDash(cut(strings.Join(p.Licenses, ", "), 40))), placeOf(c, p), visible(strings.Join(p.FoundBy, ", ")))
	}
	if len(c.Files) > 0 {
		fmt.Fprintf(w, "\nOF NO PACKAGE\tSIZE\tSHA256\n")
		for _, f := range c.Files {
			fmt.Fprintf(w, "/%s\t%s\t%.12s\n", visible(f.Path), size(f.Size), f.SHA256)
		}
	}
	if len(c.Disagreements) > 0 {
		fmt.Fprintf(w, "\nDECLARED\tBY\tBUT\n")
		for _, d := range c.Disagreements {
			fmt.Fprintf(w, "%s\t%s\t%s\n", visible(d.Package), visible(d.DeclaredBy), visible(d.Why))
		}
	}
	printGaps(w, c.Gaps)
	fmt.Fprintf(w, "\n%s, %s of no package", plural(len(c.Packages), "package"), plural(len(c.Files)+c.Unlisted, "file"))
	if c.Unlisted > 0 {
		fmt.Fprintf(w, ", of which %d are not listed", c.Unlisted)
	}
	fmt.Fprintln(w)
}

// printGaps tells what could not be read: nobody knows what is in there.
func printGaps(w io.Writer, gaps []artifact.Gap) {
	for _, gap := range gaps {
		fmt.Fprintf(w, "\nnot read: /%s: %s\n", visible(gap.Path), visible(gap.Why))
	}
}

// fullName is the package's name as its own world writes it.
func fullName(p artifact.Package) string {
	switch {
	case p.Namespace == "" || p.Distro != "":
		return p.Name
	case p.Type == "maven":
		return p.Namespace + ":" + p.Name
	}
	return p.Namespace + "/" + p.Name
}

// placeOf says whether a package is the base's or the application's, where that is known.
func placeOf(c artifact.Contents, p artifact.Package) string {
	switch {
	case c.BaseLayers == 0:
		return "-"
	case c.InBase(p):
		return "base"
	}
	return "app"
}

// cut shortens a text for a table.
func cut(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
