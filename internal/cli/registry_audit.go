package cli

import (
	"cmp"
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/audit"
	"plimsoll.dev/plimsoll/internal/site/served"
)

func newRegistryAudit(env *Env) *cobra.Command {
	cmd := group("audit", "Show what was done in the registry, and that nobody meddled with the record",
		newAuditList(env), newAuditExport(env), newAuditVerify(env))
	cmd.PersistentFlags().String(auditFolderFlag, "", "folder of the log, or of a copy (default: the home's)")
	cmd.Long = `The audit log is the folder audit in $PLIMSOLL_HOME: a line for each thing that was done or refused,
each with the hash of the line before, and signed checkpoints between them. A server writes it;
these commands may run beside it.

docs/registry-operations.md tells more.` + "\n" + exitCodes
	return cmd
}

const auditFolderFlag = "folder"

// auditLog gives the folder that the command's flags name.
func (env *Env) auditLog(cmd *cobra.Command) string {
	folder, _ := cmd.Flags().GetString(auditFolderFlag)
	return cmp.Or(folder, served.AuditFolder(env.home()))
}

// auditFilter are the flags that say which records are wanted.
type auditFilter struct {
	since, until, who, repository string
	refused                       bool
}

func (o *auditFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.since, "since", "", "from that day (2027-01-01) or moment (RFC 3339) on")
	flags.StringVar(&o.until, "until", "", "before that day or moment")
	flags.StringVar(&o.who, "who", "", "what that principal did")
	flags.StringVar(&o.repository, "repository", "", "what was done in repositories like team/app, team/* or team/**")
	flags.BoolVar(&o.refused, "refused", false, "only what was refused")
}

func (o *auditFilter) filter() (f audit.Filter, err error) {
	f = audit.Filter{Principal: o.who, Repository: o.repository, Refused: o.refused}
	for _, one := range []struct {
		flag, text string
		into       *time.Time
	}{{"--since", o.since, &f.Since}, {"--until", o.until, &f.Until}} {
		if one.text == "" {
			continue
		}
		if *one.into, err = moment(one.flag, one.text); err != nil {
			return f, err
		}
	}
	return f, nil
}

func newAuditList(env *Env) *cobra.Command {
	var o auditFilter
	last := 100
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what was done",
		Example: `  plimsoll registry audit list --refused
  plimsoll registry audit list --who robot+team/ci --since 2027-01-01 --last 0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runAuditList(cmd.Context(), env, env.auditLog(cmd), o, last)
		},
	}
	o.flags(cmd)
	cmd.Flags().IntVar(&last, "last", last, "only so many, the newest; 0: all")
	return cmd
}

func runAuditList(ctx context.Context, env *Env, folder string, o auditFilter, last int) error {
	f, err := o.filter()
	if err != nil {
		return err
	}
	found := []audit.Entry{}
	err = audit.Read(ctx, folder, f, func(e *audit.Entry, _ []byte) error {
		found = append(found, *e)
		if last > 0 && len(found) >= 2*last {
			found = append(found[:0], found[len(found)-last:]...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if last > 0 && len(found) > last {
		found = found[len(found)-last:]
	}
	return env.print(found, func(w io.Writer) {
		fmt.Fprintln(w, "TIME\tWHO\tWHAT\tOUTCOME\tWHERE\tWHY")
		for _, e := range found {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Time.UTC().Format(time.DateTime), visible(cmp.Or(e.Principal, "anybody")),
				e.Action, e.Outcome, visible(auditWhere(&e)), visible(e.Why))
		}
	})
}

// auditWhere names what a record is about.
func auditWhere(e *audit.Entry) string {
	switch {
	case e.Repository == "":
		return "-"
	case e.Reference == "" && e.Digest == "":
		return e.Repository
	}
	reference := cmp.Or(e.Reference, e.Digest)
	if strings.Contains(reference, ":") {
		return e.Repository + "@" + reference
	}
	return e.Repository + ":" + reference
}

func newAuditExport(env *Env) *cobra.Command {
	var o auditFilter
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print records as JSON lines, as they are in the log",
		Long: `Export prints the lines of the log, each a JSON object. Without a filter it is all of them,
checkpoints included, and whoever has the public key can verify them.` + "\n" + exitCodes,
		Example: `  plimsoll registry audit export --since 2027-01-01 > audit.jsonl`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := o.filter()
			if err != nil {
				return err
			}
			f.Checkpoints = f == audit.Filter{}
			return audit.Read(cmd.Context(), env.auditLog(cmd), f, func(_ *audit.Entry, line []byte) error {
				_, err := env.Out.Write(append(line, '\n'))
				return err
			})
		},
	}
	o.flags(cmd)
	return cmd
}

// verifyAuditOptions say what the log is held against.
type verifyAuditOptions struct {
	keys       []string
	archived   bool
	checkpoint string
}

func newAuditVerify(env *Env) *cobra.Command {
	var o verifyAuditOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Say whether the log is as it was written",
		Long: `Verify follows the log from its first line and holds its checkpoints against the key that signs them:
by default the home's own. It names the first line that was changed, removed, put in or moved, and
says when the end is missing. The exit code is 3 when the log does not hold, and 1 when there is no
key: then only the chain was followed, which whoever may write the folder can write anew.

What no log can show by itself is that its whole folder was set back to an earlier state. A checkpoint
that was kept elsewhere shows that: a server tells each to its own log and to webhooks.` + "\n" + exitCodes,
		Example: `  plimsoll registry audit verify
  plimsoll registry audit verify --folder /srv/audit-copy --key audit.pub --checkpoint 12001:9f86d081884c7d65…`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runAuditVerify(cmd.Context(), env, env.auditLog(cmd), o)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.keys, "key", nil, "name of a public key that signs checkpoints (default: the home's)")
	flags.BoolVar(&o.archived, "archived", false, "take it that the first files of the log were moved to an archive")
	flags.StringVar(&o.checkpoint, "checkpoint", "", "SEQ:PREVIOUS of a checkpoint that was kept elsewhere, or its JSON")
	return cmd
}

func runAuditVerify(ctx context.Context, env *Env, folder string, o verifyAuditOptions) error {
	verify := audit.VerifyOptions{Archived: o.archived}
	var err error
	if verify.Contains, err = checkpointOf(o.checkpoint); err != nil {
		return err
	}
	if verify.Keys, err = env.auditKeys(ctx, o.keys); err != nil {
		return err
	}
	report, err := audit.Verify(ctx, folder, verify)
	if err != nil {
		return err
	}
	err = env.print(report, func(w io.Writer) { printAuditReport(w, report) })
	switch {
	case err != nil:
		return err
	case !report.Holds:
		return fault.New(fault.Denied, "verify audit log", folder, report.Wrong).
			WithHint("keep the folder as it is for whoever looks into it")
	case !report.Signed:
		return fault.Newf(fault.Failed, "verify audit log", folder, "the chain holds, but signatures were not looked at").
			WithHint("name the public key that signs checkpoints with --key")
	}
	return nil
}

func printAuditReport(w io.Writer, r audit.Report) {
	fmt.Fprintf(w, "records\t%d to %d in %d files\n", r.First, r.Last, r.Segments)
	signed := "held against the key"
	if !r.Signed {
		signed = "not looked at: there is no key"
	}
	fmt.Fprintf(w, "signatures\t%s\n", signed)
	fmt.Fprintf(w, "after the newest checkpoint\t%d records\n", r.Open)
	if r.Torn > 0 {
		fmt.Fprintf(w, "unfinished line at the end\t%d bytes\n", r.Torn)
	}
	said := "holds"
	switch {
	case !r.Holds:
		said = "does not hold"
	case !r.Signed:
		said = "cannot be told: only its chain holds"
	}
	fmt.Fprintf(w, "the log\t%s\n", said)
}

// checkpointOf reads a checkpoint that was kept elsewhere; nil for "".
func checkpointOf(text string) (*audit.Checkpoint, error) {
	if text == "" {
		return nil, nil
	}
	c := &audit.Checkpoint{}
	if strings.HasPrefix(text, "{") {
		if err := json.Unmarshal([]byte(text), c); err != nil {
			return nil, fault.New(fault.Usage, "read flags", "--checkpoint", err)
		}
		return c, nil
	}
	sequence, previous, _ := strings.Cut(text, ":")
	var err error
	if c.Sequence, err = strconv.ParseUint(sequence, 10, 64); err != nil || len(previous) != 64 {
		return nil, fault.Newf(fault.Usage, "read flags", "--checkpoint", "want SEQ:PREVIOUS, as the server's log has them")
	}
	c.Previous = previous
	return c, nil
}

// auditKeys gives the public keys that checkpoints are held against: those named, else the
// home's; none where it signs none.
func (env *Env) auditKeys(ctx context.Context, names []string) ([]crypto.PublicKey, error) {
	if len(names) == 0 {
		said, err := served.SettingsNow(env.home())
		if err != nil {
			return nil, err
		}
		if said != nil && said.Audit.Key != "" {
			names = []string{served.AuditKey(said, said.Audit.Key)}
		} else {
			s, err := env.home().Signing()
			if err != nil {
				return nil, err
			}
			_, names = env.home().OwnKeys(s)
		}
	}
	var all []crypto.PublicKey
	for _, name := range names {
		public, err := env.home().Keychain().Public(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, public)
	}
	return all, nil
}
