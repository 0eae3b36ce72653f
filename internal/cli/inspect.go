package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/build/inspect"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/oci"
)

func newInspect(env *Env) *cobra.Command {
	var o inspect.Options
	var layers bool
	cmd := &cobra.Command{
		Use:   "inspect REF",
		Short: "Show what an image is, what is in it and what a rebase would change",
		Long: `Inspect shows where an image's source came from, what built it, what it runs, its base,
its layers with their packages, and what would change if it were rebased now. Of a base it
shows the packages, of a builder the buildpacks and their order; of an image that plimsoll
did not make it shows what can be known, and says what cannot.

Nothing is written, and few bytes are read: manifests, configurations, bills of materials.

docs/inspect.md describes every field of -o json.` + "\n" + exitCodes,
		Example: `  plimsoll inspect shop:1
  plimsoll inspect shop:1 --layers
  plimsoll inspect registry.example.com/shop:1 --arch arm64
  plimsoll inspect shop:1 -o json | jq '.image.layers[].packages'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInspect(cmd.Context(), env, args[0], o, layers)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&layers, "layers", false, "list every layer, and every package in it")
	flags.StringVar(&o.Architecture, "arch", "", "architecture to show of an index (default: this machine's)")
	return cmd
}

func runInspect(ctx context.Context, env *Env, text string, o inspect.Options, layers bool) error {
	ref, err := oci.Parse(text)
	if err != nil {
		return err
	}
	report, err := inspect.Inspect(ctx, env.Registries, ref, o)
	if err != nil {
		return err
	}
	checks, err := env.evidenceOf(ctx, ref, report.Image.Digest)
	if err != nil {
		return err
	}
	return env.print(inspected{report, checks}, func(w io.Writer) {
		p := page{w: w, report: report, image: &report.Image, checks: checks, all: layers}
		p.write()
	})
}

// page writes a report for a person. What comes from the image reaches the writer through
// its methods alone, for it may hold anything, also what a terminal acts on.
type page struct {
	w       io.Writer
	report  *inspect.Report
	image   *inspect.Image
	checks  []attest.Check
	all     bool // list layers and packages one by one
	written bool // something of the current section
}

func (p *page) write() {
	p.title()
	for _, section := range p.sections() {
		p.written = false
		section()
	}
}

// sections are the parts of the page; one that knows nothing writes nothing.
func (p *page) sections() []func() {
	return []func(){p.platforms, p.source, p.build, p.runs, p.builder, p.base, p.rebase, p.evidence, p.facts, p.layers, p.gaps, p.notes}
}

// The width of a page, and of the names at its left.
const (
	pageWidth  = 100
	nameWidth  = 13
	valueWidth = pageWidth - nameWidth
)

// begin puts an empty line before a section.
func (p *page) begin() {
	if !p.written {
		fmt.Fprintln(p.w)
		p.written = true
	}
}

// field writes a name and its value, if that is not empty, on as many lines as it needs.
func (p *page) field(name, value string) {
	if value == "" {
		return
	}
	p.begin()
	for i, line := range wrap(visible(value), valueWidth) {
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(p.w, "%-*s%s\n", nameWidth, name, line)
	}
}

// tableRow is the cells of a line.
type tableRow []string

// table writes rows as columns. Those of sizes are flushed right.
func (p *page) table(rows []tableRow) {
	p.begin()
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			row[i] = visible(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if rows[0][i] == "SIZE" {
				line.WriteString(space + cell + "  ")
			} else {
				line.WriteString(cell + space + "  ")
			}
		}
		fmt.Fprintln(p.w, strings.TrimRight(line.String(), " "))
	}
}

func (p *page) title() {
	i := p.image
	fmt.Fprintf(p.w, "%s@%s\n", visible(p.report.Ref), visible(p.report.Digest))
	parts := []string{string(i.Kind)}
	switch {
	case i.Kind == inspect.KindForeign:
		parts[0] = "image that plimsoll did not make"
	case i.Kind == inspect.KindBase:
		parts[0] = "base " + i.Base.Name
	}
	parts = append(parts, i.Platform)
	if i.Distro != "" {
		parts = append(parts, i.Distro)
	}
	parts = append(parts, fmt.Sprintf("%s in %s", size(i.Size), plural(len(i.Layers), "layer")))
	if !i.Created.IsZero() {
		parts = append(parts, "created "+i.Created.Format("2006-01-02 15:04 MST"))
	}
	fmt.Fprintln(p.w, visible(strings.Join(parts, ", ")))
}

func (p *page) platforms() {
	if len(p.report.Platforms) < 2 {
		return
	}
	rows := []tableRow{{"PLATFORM", "SIZE", "LAYERS", "DIGEST"}}
	for _, one := range p.report.Platforms {
		digest := short(one.Digest)
		if one.Shown {
			digest += "  shown here"
		}
		rows = append(rows, tableRow{one.Platform, size(one.Size), strconv.Itoa(one.Layers), digest})
	}
	p.table(rows)
}

func (p *page) source() {
	if s := p.image.Source; s != nil {
		p.field("source", or(s.URL, "not named: a folder without a remote"))
		p.field("revision", s.Revision)
		p.field("folder", s.Subpath)
		p.field("content", s.Digest)
	}
}

func (p *page) build() {
	if b := p.image.Build; b != nil {
		p.field("built on", shortRef(b.Builder))
		p.field("buildpacks", strings.Join(b.Buildpacks, ", "))
		p.field("lifecycle", b.Lifecycle)
		for _, o := range b.Overrides {
			p.field("override", o.String())
		}
	}
}

func (p *page) runs() {
	r := p.image.Runs
	widest := 0
	for _, process := range r.Processes {
		widest = min(24, max(widest, utf8.RuneCountInString(process.Type)))
	}
	for i, process := range r.Processes {
		line := words(process.Command)
		if process.Shell {
			line = strings.Join(process.Command, " ") + " (in a shell)"
		}
		text := fmt.Sprintf("%-*s  %s", widest, process.Type, line)
		if process.Default && len(r.Processes) > 1 {
			text += " (default)"
		}
		p.field(first(i, "runs"), text)
	}
	if len(r.Processes) == 0 {
		p.field("entrypoint", words(r.Entrypoint))
		p.field("command", words(r.Command))
	}
	p.field("works in", r.WorkingDirectory)
	p.field("ports", strings.Join(r.Ports, ", "))
	p.field("volumes", strings.Join(r.Volumes, ", "))
	p.field("environment", strings.Join(telling(r.Environment), " "))
}

// telling leaves out the variables that are the same everywhere.
func telling(environment []string) []string {
	var out []string
	for _, pair := range environment {
		if !strings.HasPrefix(pair, "CNB_") && !strings.HasPrefix(pair, "PATH=") {
			out = append(out, pair)
		}
	}
	return out
}

func (p *page) base() {
	b := p.image.Base
	if b == nil || p.image.Kind == inspect.KindBase {
		return
	}
	text := or(b.Name, "not named")
	if b.Digest != "" {
		text += "@" + short(b.Digest)
	}
	if b.Layers > 0 {
		text += fmt.Sprintf(", %s, %s", plural(b.Layers, "layer"), size(b.Size))
	}
	p.field("base", text)
	if !b.Rebasable && p.image.Kind == inspect.KindApplication {
		p.field("rebase", "not possible: "+b.Why)
	}
}

func (p *page) rebase() {
	r := p.image.Rebase
	if r == nil {
		return
	}
	p.written = p.image.Base != nil // then it stands right below it
	switch r.Status {
	case inspect.RebaseFailed:
		p.field("rebase now", "not possible: "+r.Error)
		p.field(" ", r.Hint)
		return
	case inspect.RebaseCurrent:
		p.field("rebase now", "nothing to do: "+r.RunImage+" has not changed")
		return
	}
	text := fmt.Sprintf("brings %s (%s)", plural(r.New, "new layer"), size(r.Bytes))
	if r.Known {
		text = fmt.Sprintf("changes %s, %s", plural(len(r.Packages), "package"), text)
	}
	p.field("rebase now", text)
	widest := 0
	for _, change := range r.Packages {
		widest = max(widest, utf8.RuneCountInString(change.Name))
	}
	for i, change := range r.Packages {
		if i == shownPackages && !p.all {
			p.field(" ", fmt.Sprintf("and %d more: see --layers", len(r.Packages)-i))
			break
		}
		p.field(" ", fmt.Sprintf("%-*s  %s", min(widest, 32), change.Name, versions(change)))
	}
}

// versions says what becomes of a package.
func versions(change inspect.PackageChange) string {
	switch {
	case change.From == "":
		return change.To + " is new"
	case change.To == "":
		return change.From + " is gone"
	}
	return change.From + " -> " + change.To
}

// shownPackages is how many changed packages are listed without --layers.
const shownPackages = 20

func (p *page) facts() {
	for i, fact := range p.image.Facts {
		mark := "ok"
		if !fact.Good {
			mark = "note"
		}
		p.field(first(i, "safety"), fmt.Sprintf("%-4s  %s", mark, fact.Text))
	}
}

// gaps says what the page cannot.
func (p *page) gaps() {
	for i, gap := range p.image.NotKnown {
		p.field(first(i, "not known"), gap.What+": "+gap.Why)
	}
}

func (p *page) notes() {
	for i, note := range p.image.Notes {
		p.field(first(i, "notes"), note)
	}
}

// visible gives the text with everything a terminal might act on, or not show, escaped.
func visible(text string) string {
	if strings.IndexFunc(text, func(c rune) bool { return !unicode.IsPrint(c) || c == utf8.RuneError }) < 0 {
		return text
	}
	var out strings.Builder
	for _, c := range text {
		if unicode.IsPrint(c) {
			out.WriteRune(c)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(c)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String()
}

// wrap breaks the text at spaces into lines of at most width runes; a longer word stays
// whole, to be copied.
func wrap(text string, width int) []string {
	var lines []string
	for utf8.RuneCountInString(text) > width {
		at := strings.LastIndexByte(string([]rune(text)[:width+1]), ' ')
		if at <= 0 {
			if at = strings.IndexByte(text, ' '); at <= 0 {
				break
			}
		}
		lines = append(lines, text[:at])
		text = strings.TrimLeft(text[at:], " ")
	}
	return append(lines, text)
}

// words gives a command line as one would type it.
func words(command []string) string {
	var out []string
	for _, word := range command {
		if word == "" || strings.ContainsAny(word, " \t\n\"'$`\\|&;<>()*?") {
			word = strconv.Quote(word)
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

// short gives the start of a digest.
func short(digest string) string { return fmt.Sprintf("%.19s", digest) }

// shortRef shortens the digest of a reference.
func shortRef(ref string) string {
	if name, digest, ok := strings.Cut(ref, "@"); ok {
		return name + "@" + short(digest)
	}
	return ref
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
