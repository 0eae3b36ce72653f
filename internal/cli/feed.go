package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/site/feeds"
	"plimsoll.dev/plimsoll/internal/vuln/feed"
)

func newFeed(env *Env) *cobra.Command {
	return group("feed", "Keep the advisories that images are held against", newFeedSync(env), newFeedStatus(env), newFeedAdd(env), newFeedRemove(env))
}

func newFeedSync(env *Env) *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Bring the feeds up to date, and say which images that concerns",
		Long: `Sync fetches what is new in each feed, and finds the images that what changed concerns, without
looking into any of them again. Without a configuration there is one feed: what the security
updates of the machine's own Debian archive say of themselves in their changelogs.

A feed that is broken, older or far smaller than before never replaces what is there; the
others are synced all the same. docs/feeds.md tells more.` + "\n" + exitCodes,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runFeedSync(cmd.Context(), env, force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "take feeds that are older or far smaller than what is there, too")
	return cmd
}

func runFeedSync(ctx context.Context, env *Env, force bool) error {
	f, err := feeds.Open(env.home())
	if err != nil {
		return err
	}
	progress := env.progress()
	out, failed := f.Sync(ctx, feeds.SyncOptions{Force: force, Progress: progress.update, Fetched: progress.close})
	if out == nil {
		return failed
	}
	if err := env.print(out, func(w io.Writer) {
		printFeeds(w, out.Feeds)
		fmt.Fprintf(w, "\n%d vulnerabilities in %d packages; %d packages have changed\n", out.Advisories.Vulnerabilities, out.Advisories.Packages, out.Changed)
		fmt.Fprintf(w, "%d packages of the inventory were matched: %d new findings, %d gone\n", out.Inventory.Packages, out.Inventory.New, out.Inventory.Gone)
	}); err != nil {
		return err
	}
	return failed
}

func newFeedStatus(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say how old and how large the feeds are, and what went wrong",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			f, err := feeds.Open(env.home())
			if err != nil {
				return err
			}
			all := f.Status()
			return env.print(all, func(w io.Writer) { printFeeds(w, all) })
		},
	}
}

func printFeeds(w io.Writer, all []feed.Status) {
	fmt.Fprintln(w, "FEED\tKIND\tPART\tRECORDS\tNEWEST\tSYNCED\tERROR")
	for _, s := range all {
		synced := "never"
		if !s.Synced.IsZero() {
			synced = s.Age.Round(time.Second).String() + " ago"
		}
		newest := "-"
		if !s.Newest.IsZero() {
			newest = s.Newest.Format(time.DateOnly)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", s.Feed, s.Kind, visible(s.Part), s.Records, newest, synced, visible(orDash(s.Error)))
	}
}

func newFeedAdd(env *Env) *cobra.Command {
	var f feed.Feed
	kind := ""
	cmd := &cobra.Command{
		Use:   "add NAME [URL]",
		Short: "Add a feed to feeds.yaml",
		Long: `Add writes a feed into feeds.yaml of this home, beside those that are there: at first the feed that
is derived from the Debian archive. A feed of that name is replaced.` + "\n" + exitCodes,
		Example: `  plimsoll feed add osv https://mirror.example.com/osv --ecosystem Go,npm,PyPI,Maven
  plimsoll feed add osv /media/stick/osv --ecosystem Go --checksums required
  plimsoll feed add kev https://mirror.example.com/kev.json --kind kev`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			f.Name, f.Kind = args[0], feed.Kind(kind)
			if len(args) > 1 {
				f.URL = args[1]
			}
			return changeFeeds(env, func(all []feed.Feed) ([]feed.Feed, error) {
				if err := f.Check(); err != nil {
					return nil, err
				}
				all = slices.DeleteFunc(all, func(other feed.Feed) bool { return other.Name == f.Name })
				return append(all, f), nil
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kind, "kind", string(feed.OSV), "osv, debian, debian-tracker, kev or epss")
	flags.StringSliceVar(&f.Ecosystems, "ecosystem", nil, "parts of an osv feed, such as Go,npm,PyPI,Maven,Debian")
	flags.StringVar(&f.Checksums, "checksums", "", "SHA-256 of the feed's SHA256SUMS file, or \"required\"")
	flags.StringVar(&f.Key, "key", "", "public key, as PEM, that SHA256SUMS.sig is made with")
	return cmd
}

func newFeedRemove(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Aliases: []string{"rm"},
		Short:   "Remove a feed from feeds.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return changeFeeds(env, func(all []feed.Feed) ([]feed.Feed, error) {
				left := slices.DeleteFunc(slices.Clone(all), func(f feed.Feed) bool { return f.Name == args[0] })
				if len(left) == len(all) {
					return nil, fault.Newf(fault.NotFound, "remove feed", args[0], "there is no such feed").
						WithHint("run `plimsoll feed status` for their names")
				}
				return left, nil
			})
		},
	}
}

// changeFeeds writes feeds.yaml anew.
func changeFeeds(env *Env, change func([]feed.Feed) ([]feed.Feed, error)) error {
	f, err := feeds.Open(env.home())
	if err != nil {
		return err
	}
	all, err := change(f.All())
	if err != nil {
		return err
	}
	if err := feed.Save(env.home().FeedsFile(), all); err != nil {
		return err
	}
	shown := make([]feed.Feed, len(all))
	for i, f := range all {
		shown[i] = f.Shown()
	}
	return env.print(shown, func(w io.Writer) {
		fmt.Fprintln(w, "FEED\tKIND\tURL")
		for _, f := range shown {
			fmt.Fprintf(w, "%s\t%s\t%s\n", f.Name, f.Kind, orDash(f.URL))
		}
	})
}
