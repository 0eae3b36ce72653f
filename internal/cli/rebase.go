package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site"
)

type rebaseOptions struct {
	site.RebaseOptions
	runImage, file, tag string
	accounting          accounting
}

func newRebase(env *Env) *cobra.Command {
	var o rebaseOptions
	cmd := &cobra.Command{
		Use:   "rebase REF...",
		Short: "Put images on a newer base without building them again",
		Long: `Rebase replaces the base of images made by buildpacks: each is put on the run image that
its metadata names, as that is now, or on --run-image. No layer is read or built; what the
registry lacks is sent, and the tag moves last. An image that stands on that base already
is left alone. Of an index every image is rebased.

The rules are those of the Cloud Native Buildpacks lifecycle. Many images share one look at
their run images; one that fails does not stop the others. With -o json or yaml there is a
document for each image, as soon as it is done.

All evidence is issued anew for an image that somebody signed whom the home trusts. One that
nobody did is rebased without, and that is said.

docs/rebase.md tells more.` + "\n" + exitCodes,
		Example: `  plimsoll rebase shop:1
  plimsoll rebase registry.example.com/shop:1 --dry-run
  plimsoll rebase --file fleet.txt
  plimsoll registry list -o json | jq -r '.[] | .repository + ":" + .tag' | plimsoll rebase -`,
		RunE: func(cmd *cobra.Command, args []string) error { return runRebase(cmd.Context(), env, o, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.runImage, "run-image", "", "run image to put them on (default: the one each image names)")
	flags.BoolVar(&o.DryRun, "dry-run", false, "only say what would change")
	flags.BoolVar(&o.Force, "force", false, "rebase images that are marked as not rebasable, are for another target, or do not name the run image")
	flags.StringVarP(&o.tag, "tag", "t", "", "where to write the result of a single REF (default: its tag moves)")
	flags.StringVarP(&o.file, "file", "f", "", "file with a REF on each line; - is standard input, as is a REF of -")
	flags.IntVar(&o.Jobs, "jobs", 16, "images at a time")
	flags.BoolVar(&o.Vouch, "vouch", false, "sign what is rebased even if nobody who is trusted signed it before")
	o.accounting.flags(cmd)
	return cmd
}

func runRebase(ctx context.Context, env *Env, o rebaseOptions, args []string) error {
	// What lives at a time is a few images' manifests and evidence: up to a limit, memory is
	// cheaper than collecting it.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	const enough = 224 << 20 // bytes; less where GOMEMLIMIT says so
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(min(enough, debug.SetMemoryLimit(-1))))
	refs, err := o.refs(env, args)
	if err != nil {
		return err
	}
	if o.tag != "" {
		if o.To, err = oci.ParseTag(o.tag); err != nil {
			return err
		}
	}
	o.NoEvidence = o.accounting.none
	t := tally{env: env, start: time.Now(), count: map[rebase.Status]int{}, told: map[string]bool{}, single: len(args) == 1 && args[0] != "-"}
	items := func(yield func(site.RebaseItem, error) bool) {
		for ref, err := range refs {
			if !yield(site.RebaseItem{Tag: ref}, err) {
				return
			}
		}
	}
	if err := env.Site().RebaseOnto(ctx, o.runImage, items, o.RebaseOptions, func(out site.RebaseOutcome) { t.add(out.Result) }); err != nil {
		return err
	}
	return t.end()
}

// refs gives the references of the arguments, or those in a file or in standard input.
func (o *rebaseOptions) refs(env *Env, args []string) (iter.Seq2[string, error], error) {
	if o.file == "" && slices.Equal(args, []string{"-"}) {
		o.file, args = "-", nil
	}
	const usage = "run `plimsoll rebase --help`"
	switch {
	case o.Jobs < 1:
		return nil, fault.Newf(fault.Usage, "read flags", "--jobs", "it must be at least 1")
	case o.file != "" && len(args) > 0:
		return nil, fault.Newf(fault.Usage, "read arguments", "rebase", "there are REFs and a --file").WithHint(usage)
	case o.file == "" && len(args) == 0:
		return nil, fault.Newf(fault.Usage, "read arguments", "rebase", "there is no REF").WithHint(usage)
	case o.tag != "" && len(args) != 1:
		return nil, fault.Newf(fault.Usage, "read flags", "--tag", "it is for a single REF").WithHint(usage)
	case o.file == "-":
		return linesOf("standard input", func() (io.ReadCloser, error) { return io.NopCloser(env.In), nil }), nil
	case o.file != "":
		return linesOf(o.file, func() (io.ReadCloser, error) { return os.Open(o.file) }), nil
	}
	return func(yield func(string, error) bool) {
		for _, arg := range args {
			if !yield(arg, nil) {
				return
			}
		}
	}, nil
}

// linesOf gives each line that is neither empty nor a comment.
func linesOf(name string, open func() (io.ReadCloser, error)) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		f, err := open()
		if err != nil {
			yield("", fault.New(fault.Usage, "read references", name, err))
			return
		}
		defer f.Close()
		scanner := bufio.NewScanner(f)
		for scanner.Scan() {
			line := strings.TrimSpace(scanner.Text())
			if line != "" && line[0] != '#' && !yield(line, nil) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			yield("", fault.New(fault.Usage, "read references", name, err))
		}
	}
}

// tally shows results as they come, and remembers the failed ones.
type tally struct {
	env    *Env
	start  time.Time
	single bool // there is one, whose failure is the command's
	count  map[rebase.Status]int
	pushed int64
	failed []rebase.Result
	told   map[string]bool // moves from one base to another whose packages were shown
}

func (t *tally) add(r rebase.Result) {
	t.count[r.Status]++
	t.pushed += r.Pushed
	if r.Status == rebase.StatusFailed {
		t.failed = append(t.failed, r)
	}
	switch t.env.format {
	case "json":
		_ = json.NewEncoder(t.env.Out).Encode(r)
	case "yaml":
		text, _ := yaml.Marshal(r)
		fmt.Fprintf(t.env.Out, "---\n%s", text)
	default:
		t.print(r)
	}
}

// print writes a result as a line, and what a dry run found below it.
func (t *tally) print(r rebase.Result) {
	out := t.env.Out
	switch r.Status {
	case rebase.StatusFailed:
		if !t.single {
			fmt.Fprintf(out, "%-9s  %s\n", r.Status, r.Error)
		}
		return
	case rebase.StatusUnchanged:
		fmt.Fprintf(out, "%-9s  %s  on %s, which has not changed\n", r.Status, r.Ref, bases(r.Images))
		return
	}
	where := r.Ref
	if r.Tag != "" {
		where += " to " + r.Tag
	}
	verb := "sent"
	if r.Status == rebase.StatusStale {
		verb = "to send"
	}
	fmt.Fprintf(out, "%-9s  %s@%.19s  on %s, %s %s\n", r.Status, where, r.To, bases(r.Images), size(r.Pushed), verb)
	for _, c := range r.Images {
		for _, reason := range c.Forced {
			fmt.Fprintf(out, "    forced: %s\n", reason)
		}
		if r.Status == rebase.StatusStale {
			printChange(out, c)
		} else if move := c.From + " " + c.To; !t.told[move] {
			t.told[move] = true
			fmt.Fprintf(out, "    %s\n", moved(c))
		}
	}
}

// moved says in a line what a base brings that is newer than the one before.
func moved(c rebase.Change) string {
	const shown = 3
	if !c.Known {
		return fmt.Sprintf("%s: %s new, %s", c.RunImage, plural(c.New, "layer"), size(c.Bytes))
	}
	var names []string
	for _, p := range c.Packages[:min(shown, len(c.Packages))] {
		names = append(names, fmt.Sprintf("%s %s -> %s", p.Name, orDash(p.From), orDash(p.To)))
	}
	if more := len(c.Packages) - shown; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("%s: %s in %d new layers: %s", c.RunImage, size(c.Bytes), c.New, strings.Join(names, ", "))
}

func printChange(out io.Writer, c rebase.Change) {
	fmt.Fprintf(out, "    %s: %s new (%s), %d shared\n", c.Platform, plural(c.New, "layer"), size(c.Bytes), c.Shared)
	if !c.Known {
		fmt.Fprintf(out, "      packages are not known: the bases do not say what their layers hold\n")
	}
	for _, p := range c.Packages {
		fmt.Fprintf(out, "      %s  %s -> %s\n", p.Name, orDash(p.From), orDash(p.To))
	}
}

// bases names the run images, each once.
func bases(images []rebase.Change) string {
	var names []string
	for _, c := range images {
		if !slices.Contains(names, c.RunImage) {
			names = append(names, c.RunImage)
		}
	}
	return strings.Join(names, ", ")
}

// end gives the sum, and the failures as one error.
func (t *tally) end() error {
	total := 0
	for _, n := range t.count {
		total += n
	}
	if !t.single && t.env.format == "" {
		took := time.Since(t.start).Seconds()
		fmt.Fprintf(t.env.Out, "\n%d images in %.1f s (%.0f a second): %d rebased, %d stale, %d unchanged, %d failed; %s\n", total, took, float64(total)/took,
			t.count[rebase.StatusRebased], t.count[rebase.StatusStale], t.count[rebase.StatusUnchanged], len(t.failed), size(t.pushed))
	}
	switch {
	case len(t.failed) == 0:
		return nil
	case t.single:
		return t.failed[0].Err
	}
	return fault.Newf(fault.Failed, "rebase", "", fmt.Sprintf("%d of %d images failed: %s", len(t.failed), total, t.names())).
		WithHint("each one's line says why; run it again when that is mended: what is done stays done")
}

// names gives the failed references; of very many the first ones.
func (t *tally) names() string {
	const shown = 20
	var names []string
	for _, r := range t.failed[:min(shown, len(t.failed))] {
		names = append(names, r.Ref)
	}
	text := strings.Join(names, ", ")
	if more := len(t.failed) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
