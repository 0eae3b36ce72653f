package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/internal/fault"
)

// format is the value of -o. The zero value is a table.
type format string

func (f *format) String() string {
	if *f == "" {
		return "table"
	}
	return string(*f)
}

func (f *format) Set(s string) error {
	switch s {
	case "table":
		*f = ""
	case "json", "yaml":
		*f = format(s)
	default:
		return errors.New("want table, json or yaml")
	}
	return nil
}

func (f *format) Type() string { return "format" }

// formatIn finds -o among the arguments before they are parsed, so that an error in the
// ones before it has the format, too.
func formatIn(args []string) format {
	var f format
	for i, arg := range args {
		value, found := strings.CutPrefix(arg, "--output=")
		switch {
		case arg == "--":
			return f
		case (arg == "-o" || arg == "--output") && i+1 < len(args):
			value, found = args[i+1], true
		case !found && strings.HasPrefix(arg, "-o"):
			value, found = strings.TrimPrefix(strings.TrimPrefix(arg, "-o"), "="), true
		}
		if found {
			_ = f.Set(value) // a bad value is told by the parser
		}
	}
	return f
}

// print gives value as JSON or YAML, or calls table to write it for a person.
func (env *Env) print(value any, table func(w io.Writer)) error {
	if env.format == "" {
		w := tabwriter.NewWriter(env.Out, 0, 0, 2, ' ', 0)
		table(w)
		return w.Flush()
	}
	return encode(env.Out, env.format, value)
}

func encode(w io.Writer, f format, value any) error {
	if f == "yaml" {
		text, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// failure is an error as a script sees it.
type failure struct {
	Error    string `json:"error"`
	Hint     string `json:"hint,omitempty"`
	ExitCode int    `json:"exitCode"`
}

// printError writes err to standard error: one line and a hint, or one document.
func printError(env *Env, err error) {
	f := failure{Error: err.Error(), Hint: fault.HintOf(err), ExitCode: fault.ExitCode(err)}
	if env.format != "" {
		_ = encode(env.Err, env.format, f)
		return
	}
	fmt.Fprintf(env.Err, "plimsoll: %s\n", visible(f.Error)) // it may tell what foreign code said
	if f.Hint != "" {
		fmt.Fprintf(env.Err, "hint: %s\n", visible(f.Hint))
	}
}

// size gives bytes as people read them, in decimal units.
func size(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n)/unit, "kB"
	for _, s := range []string{"MB", "GB", "TB"} {
		if value < unit {
			break
		}
		value, suffix = value/unit, s
	}
	return fmt.Sprintf("%.1f %s", value, suffix)
}
