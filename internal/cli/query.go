package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

func newQuery(env *Env) *cobra.Command {
	var page inventory.Page
	cmd := &cobra.Command{
		Use:   "query QUESTION",
		Short: "Ask about all images at once",
		Long: `Query asks the inventory, which knows of every image that was built, rebased or imported here or
read by "plimsoll inventory rebuild". docs/query.md describes the language.` + "\n" + exitCodes,
		Example: `  plimsoll query 'what contains openssl < 3.5.7-1~deb13u3'
  plimsoll query 'what is affected by CVE-2025-9230 and how is it fixed'
  plimsoll query 'images where base = "run:1" and age > 30d' -o json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runQuery(cmd.Context(), env, strings.Join(args, " "), page)
		},
	}
	cmd.Flags().IntVar(&page.Limit, "limit", 100, "rows to show, at most 1000")
	cmd.Flags().StringVar(&page.After, "after", "", "show the page after this mark, which the page before gave as next")
	return cmd
}

func runQuery(ctx context.Context, env *Env, text string, page inventory.Page) error {
	question, err := query.Parse(text)
	if err != nil {
		return err
	}
	index, err := env.home().Inventory(ctx)
	if err != nil {
		return err
	}
	result, err := index.Query(ctx, question, page)
	if err != nil {
		return err
	}
	return env.print(result, func(w io.Writer) { printResult(w, result) })
}

func printResult(w io.Writer, r inventory.Result) {
	shown := 0
	switch r.Subject {
	case query.Packages:
		shown = len(r.Packages)
		fmt.Fprintln(w, "PACKAGE\tARCH\tDISTRO\tIMAGES")
		for _, p := range r.Packages {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", visible(askable(p.PURL)), visible(orDash(p.Arch)), visible(orDash(p.Distro)), p.Images)
		}
	case query.Advisories:
		shown = len(r.Advisories)
		fmt.Fprintln(w, "ADVISORY\tSEVERITY\tPACKAGES\tIMAGES\tFIXABLE\tSINCE\tSUMMARY")
		for _, a := range r.Advisories {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", visible(a.ID), a.Severity, a.Packages, a.Images, yesNo(a.Fixable), day(a.Since), visible(cut(a.Summary, 60)))
		}
	default:
		shown = len(r.Images)
		printImages(w, r.Images)
	}
	if len(r.Fixes) > 0 {
		fmt.Fprintln(w, "\nHOW\tPACKAGE\tTO\tADVISORY\tIMAGES")
		for _, f := range r.Fixes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", f.Remedy, visible(f.Package), visible(orDash(f.Fixed)), visible(f.Advisory), f.Images)
		}
	}
	fmt.Fprintf(w, "\n%d of %d\n", shown, r.Total)
	for _, note := range r.Notes {
		fmt.Fprintln(w, visible(note))
	}
	if r.Next != "" {
		fmt.Fprintf(w, "next: --after %s\n", r.Next)
	}
}

// printImages writes images with what was asked for in them, or what they are where nothing
// was.
func printImages(w io.Writer, images []inventory.ImageAnswer) {
	if len(images) == 0 {
		return
	}
	if slices.ContainsFunc(images, func(i inventory.ImageAnswer) bool { return len(i.Matches) > 0 }) {
		fmt.Fprintln(w, "IMAGE\tDIGEST\tPACKAGE\tIN\tADVISORY\tSEVERITY\tFIX\tSINCE")
		for _, i := range images {
			printImageAnswer(w, i)
		}
		return
	}
	fmt.Fprintln(w, "IMAGE\tDIGEST\tPLATFORM\tBASE\tAGE\tSIZE\tREFS")
	for _, i := range images {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", visible(i.Name), short(i.Digest), visible(i.Platform), visible(orDash(i.Base.Name)),
			age(time.Since(i.Pushed)), size(i.Size), len(i.References))
	}
}

// age gives a time as questions have it: "45d", "7h".
func age(d time.Duration) string {
	if hours := int(d.Hours()); hours < 48 {
		return fmt.Sprintf("%dh", max(0, hours))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// printImageAnswer writes an image, with a line for each of its matches.
func printImageAnswer(w io.Writer, i inventory.ImageAnswer) {
	name := visible(i.Name) + "\t" + short(i.Digest)
	if len(i.Matches) == 0 {
		fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t%s\n", name, day(i.Seen))
	}
	for _, m := range i.Matches {
		in := "app"
		switch {
		case i.Base.Name == "":
			in = "-"
		case m.InBase:
			in = "base"
		}
		fix := "-"
		if m.Fixed != "" {
			fix = string(m.Remedy) + " to " + m.Fixed
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, visible(askable(m.Package)), in, visible(orDash(m.Advisory)), orDash(string(m.Severity)), visible(fix), day(m.Since))
		name = "\t"
	}
	if i.More > 0 {
		fmt.Fprintf(w, "\t\tand %d more\t\t\t\t\t\n", i.More)
	}
}

// askable gives a package URL as a question takes it, decoded and without qualifiers:
// "npm/@babel/cli@7.1.0".
func askable(purl string) string {
	bare, _, _ := strings.Cut(strings.TrimPrefix(purl, "pkg:"), "?")
	bare, version, versioned := strings.Cut(bare, "@") // in names it is encoded
	kind, path, _ := strings.Cut(bare, "/")
	at := strings.LastIndexByte(path, '/')
	name := kind + "/" + query.Title(kind, decoded(path[:max(at, 0)]), decoded(path[at+1:]))
	if versioned {
		name += "@" + decoded(version)
	}
	return name
}

func decoded(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}
