package cli

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/access/robot"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/settings"
	"plimsoll.dev/plimsoll/internal/site/served"
)

func newRegistryRobot(env *Env) *cobra.Command {
	cmd := group("robot", "Make and remove accounts for programs",
		newRobotCreate(env), newRobotList(env), newRobotRenew(env), newRobotRemove(env))
	cmd.Long = `A robot is an account for a program: a name, a secret, what it may do in which repositories of
one project, and an end. A server on the same home takes every change up at once.

docs/registry-access.md tells more.` + "\n" + exitCodes
	return cmd
}

// madeRobot is what `robot create` and `robot renew` give a script.
type madeRobot struct {
	User    string        `json:"user"`
	Secret  string        `json:"secret"`
	Allow   []call.Action `json:"allow"`
	Expires time.Time     `json:"expires"`
}

func newRobotCreate(env *Env) *cobra.Command {
	var (
		allow, repositories []string
		expires             string
	)
	cmd := &cobra.Command{
		Use:   "create PROJECT/NAME",
		Short: "Make a robot and print its secret, this once",
		Long: `Create makes a robot of a project that registry.yaml names. Its secret is printed now and never
again: only a hash is kept.

Push brings inspect with it: who delivers a build has to read what is not signed yet. Pull is what
a robot may do that is told nothing.` + "\n" + exitCodes,
		Example: `  plimsoll registry robot create team/ci --allow pull,push --expires 90d
  plimsoll registry robot create team/nodes --repositories 'team/app-*' --expires 1y`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			project, name, err := robot.Split(args[0])
			if err != nil {
				return err
			}
			if err := env.projectOfRobot(project, args[0]); err != nil {
				return err
			}
			period, err := robotPeriod(expires)
			if err != nil {
				return err
			}
			r := robot.Robot{Project: project, Name: name, Repositories: repositories}
			for _, action := range allow {
				r.Allow = append(r.Allow, call.Action(action))
			}
			if r.Allows(call.ActionPush) && !r.Allows(call.ActionInspect) { // as the role publisher
				r.Allow = append(r.Allow, call.ActionInspect)
			}
			book, err := env.robots()
			if err != nil {
				return err
			}
			made, secret, err := book.Create(cmd.Context(), r, period)
			if err != nil {
				return err
			}
			return env.printRobot(made, secret)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&allow, "allow", []string{"pull"}, "what it may do: pull, push, inspect (pull what is quarantined; push brings it), delete")
	flags.StringSliceVar(&repositories, "repositories", nil, "patterns of the project's repositories it is for: * within a name, ** across; default all")
	flags.StringVar(&expires, "expires", "", "when it ends, at most a year from now: 90d, 36h")
	_ = cmd.MarkFlagRequired("expires")
	return cmd
}

// projectOfRobot refuses a robot that could do nothing.
func (env *Env) projectOfRobot(project, full string) error {
	said, err := settings.Read(served.SettingsFile(env.home()), served.Checks()...)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return fault.Newf(fault.Usage, "create robot", full, "this home has no registry.yaml: nobody needs an account").
			WithHint("docs/registry-access.md shows what the file says")
	}
	if err != nil {
		return err
	}
	if said.Project(project) == nil {
		return fault.Newf(fault.Usage, "create robot", full, "registry.yaml has no project "+project).
			WithHint("a robot's name is PROJECT/NAME")
	}
	return nil
}

func robotPeriod(text string) (time.Duration, error) {
	if text == "1y" {
		return robot.MaxPeriod, nil
	}
	period, err := settings.Period(text)
	if err != nil {
		return 0, fault.New(fault.Usage, "read flags", "--expires", err)
	}
	return period, nil
}

func (env *Env) robots() (*robot.Book, error) {
	return access.Robots(env.Home, slog.New(slog.NewTextHandler(env.Err, nil)))
}

func (env *Env) printRobot(r robot.Robot, secret string) error {
	out := madeRobot{User: r.User(), Secret: secret, Allow: r.Allow, Expires: r.Expires}
	return env.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "user\t%s\nsecret\t%s\nmay\t%s\nexpires\t%s\n", out.User, out.Secret, actionNames(out.Allow), out.Expires.Format(time.RFC3339))
	})
}

// listedRobot is what `robot list` gives a script.
type listedRobot struct {
	Robot        string        `json:"robot"`
	User         string        `json:"user"`
	Allow        []call.Action `json:"allow"`
	Repositories []string      `json:"repositories,omitempty"`
	Created      time.Time     `json:"created"`
	Expires      time.Time     `json:"expires"`
	Expired      bool          `json:"expired"`
	Used         time.Time     `json:"used,omitzero"`
}

func newRobotList(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the robots, what they may do, and when they end",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			book, err := env.robots()
			if err != nil {
				return err
			}
			robots, err := book.List()
			if err != nil {
				return err
			}
			out := []listedRobot{}
			for _, r := range robots {
				out = append(out, listedRobot{r.Full(), r.User(), r.Allow, r.Repositories, r.Created, r.Expires, !r.Live(time.Now()), r.Used})
			}
			return env.print(out, func(w io.Writer) {
				fmt.Fprintln(w, "ROBOT\tMAY\tIN\tEXPIRES\tLAST USED")
				for _, r := range out {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Robot, actionNames(r.Allow), repositoriesOf(r), ending(r), lastUsed(r.Used))
				}
			})
		},
	}
}

func actionNames(actions []call.Action) string {
	var out []string
	for _, action := range actions {
		out = append(out, string(action))
	}
	return strings.Join(out, ",")
}

func repositoriesOf(r listedRobot) string {
	if len(r.Repositories) == 0 {
		return "all of its project"
	}
	return strings.Join(slices.Sorted(slices.Values(r.Repositories)), ",")
}

func ending(r listedRobot) string {
	day := r.Expires.Format(time.DateOnly)
	if r.Expired {
		return day + " (expired)"
	}
	return day
}

func lastUsed(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.Format("2006-01-02 15:04")
}

func newRobotRenew(env *Env) *cobra.Command {
	var expires string
	var overlap time.Duration
	cmd := &cobra.Command{
		Use:     "renew PROJECT/NAME",
		Short:   "Give a robot a new secret and a new end",
		Example: `  plimsoll registry robot renew team/ci --expires 90d --overlap 24h`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			period, err := robotPeriod(expires)
			if err != nil {
				return err
			}
			book, err := env.robots()
			if err != nil {
				return err
			}
			renewed, secret, err := book.Renew(cmd.Context(), args[0], period, overlap)
			if err != nil {
				return err
			}
			return env.printRobot(renewed, secret)
		},
	}
	cmd.Flags().StringVar(&expires, "expires", "", "when it ends, at most a year from now: 90d, 36h")
	cmd.Flags().DurationVar(&overlap, "overlap", 0, "how long the secret before this one stays good")
	_ = cmd.MarkFlagRequired("expires")
	return cmd
}

func newRobotRemove(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "remove PROJECT/NAME...",
		Aliases: []string{"rm"},
		Short:   "Remove robots: their secrets and tokens are worthless at once",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			book, err := env.robots()
			if err != nil {
				return err
			}
			for _, full := range args {
				if err := book.Remove(cmd.Context(), full); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
