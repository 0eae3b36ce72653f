package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/registry/events"
	"plimsoll.dev/plimsoll/internal/site/served"
)

func newRegistryEvents(env *Env) *cobra.Command {
	cmd := group("events", "Show what webhooks were not told yet, and tell them again", newEventsList(env), newEventsResend(env))
	cmd.Long = `Events wait in the folder events in $PLIMSOLL_HOME until their webhook has taken them, or are kept
there as dead letters when it never did.

docs/registry-operations.md tells more.` + "\n" + exitCodes
	return cmd
}

func newEventsList(env *Env) *cobra.Command {
	dead := false
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List events that wait, and those that were given up",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := events.List(served.EventsFolder(env.home()))
			if err != nil {
				return err
			}
			if dead {
				all = slices.DeleteFunc(all, func(w events.Waiting) bool { return !w.Dead })
			}
			return env.print(all, func(w io.Writer) {
				fmt.Fprintln(w, "ID\tWEBHOOK\tTYPE\tSUBJECT\tQUEUED\tATTEMPTS\tSTATE\tERROR")
				for _, e := range all {
					state := "waits"
					if e.Dead {
						state = "dead"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", e.ID, e.Webhook, e.Type, visible(e.Subject),
						e.Queued.UTC().Format(time.DateTime), e.Attempts, state, visible(e.Error))
				}
			})
		},
	}
	cmd.Flags().BoolVar(&dead, "dead", false, "only those that were given up")
	return cmd
}

func newEventsResend(env *Env) *cobra.Command {
	webhook := ""
	cmd := &cobra.Command{
		Use:   "resend [ID...]",
		Short: "Queue events again that were given up: all, or those of the ids",
		Long:  `Resend queues dead letters anew. A server takes them up within seconds, or when it starts.` + "\n" + exitCodes,
		RunE: func(_ *cobra.Command, ids []string) error {
			n, err := events.Resend(served.EventsFolder(env.home()), webhook, ids...)
			if err != nil {
				return err
			}
			return env.print(struct {
				Queued int `json:"queued"`
			}{n}, func(w io.Writer) { fmt.Fprintf(w, "%d events are queued again\n", n) })
		},
	}
	cmd.Flags().StringVar(&webhook, "webhook", "", "only those of that webhook")
	return cmd
}
