package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
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
		failure := fault.New(fault.Usage, "read question", text, err)
		if wrong, ok := errors.AsType[*query.Error](err); ok {
			return failure.WithHint(wrong.Hint)
		}
		return failure
	}
	index, err := env.inventory(ctx)
	if err != nil {
		return err
	}
	defer index.Close()
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
		fmt.Fprintln(w, "PACKAGE\tIMAGES")
		for _, p := range r.Packages {
			fmt.Fprintf(w, "%s\t%d\n", visible(p.PURL), p.Images)
		}
	case query.Advisories:
		shown = len(r.Advisories)
		fmt.Fprintln(w, "ADVISORY\tSEVERITY\tPACKAGES\tIMAGES\tFIXABLE\tSINCE\tSUMMARY")
		for _, a := range r.Advisories {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", visible(a.ID), a.Severity, a.Packages, a.Images, yesNo(a.Fixable), day(a.Since), visible(cut(a.Summary, 60)))
		}
	default:
		shown = len(r.Images)
		fmt.Fprintln(w, "IMAGE\tDIGEST\tPACKAGE\tIN\tADVISORY\tSEVERITY\tFIX\tSINCE")
		for _, i := range r.Images {
			printImageAnswer(w, i)
		}
	}
	if len(r.Fixes) > 0 {
		fmt.Fprintln(w, "\nHOW\tPACKAGE\tTO\tADVISORY\tIMAGES")
		for _, f := range r.Fixes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", f.Remedy, visible(f.Package), visible(orDash(f.Fixed)), visible(f.Advisory), f.Images)
		}
	}
	fmt.Fprintf(w, "\n%d of %d\n", shown, r.Total)
	if r.Next != "" {
		fmt.Fprintf(w, "next: --after %s\n", r.Next)
	}
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
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, visible(bareURL(m.Package)), in, visible(orDash(m.Advisory)), orDash(string(m.Severity)), visible(fix), day(m.Since))
		name = "\t"
	}
	if i.More > 0 {
		fmt.Fprintf(w, "\t\tand %d more\t\t\t\t\t\n", i.More)
	}
}

// bareURL drops the qualifiers of a package URL.
func bareURL(purl string) string {
	bare, _, _ := strings.Cut(strings.TrimPrefix(purl, "pkg:"), "?")
	return bare
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}
