package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/kpack"
)

func newConvert(env *Env) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "convert [FILE...]",
		Short: "Turn kpack's resources into Plimsoll's",
		Long: `Convert reads the YAML of kpack's resources from files, or from standard input, and writes the
same as resources of Plimsoll. What is not kpack's, such as secrets and service accounts, comes
out as it went in. Give all that belongs together at once: a builder needs its stack and store.

What has no equivalent is told on standard error, with its line and what to do about it.
docs/migrating-from-kpack.md takes you across, step by step.` + "\n" + exitCodes,
		Example: `  plimsoll convert kpack/*.yaml > plimsoll.yaml
  kubectl get images.kpack.io,clusterbuilders.kpack.io,clusterstacks.kpack.io,clusterstores.kpack.io -A -o yaml | plimsoll convert
  plimsoll convert --strict kpack/*.yaml`,
		RunE: func(_ *cobra.Command, args []string) error { return runConvert(env, args, strict) },
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "fail, and write nothing, where there would be a warning")
	return cmd
}

func runConvert(env *Env, files []string, strict bool) error {
	inputs, err := env.conversionInputs(files)
	if err != nil {
		return err
	}
	result, err := kpack.Convert(inputs)
	if err != nil {
		return err
	}
	if env.format == "" {
		for _, note := range result.Notes {
			fmt.Fprintf(env.Err, "warning: %s\n", visible(note.String()))
		}
	}
	if n := len(result.Notes); strict && n > 0 {
		first := result.Notes[0]
		why := fmt.Sprintf("%s without an equivalent, the first in line %d", plural(n, "thing"), first.Line)
		return fault.Newf(fault.Failed, "convert", first.File, why).
			WithHint("without --strict the rest is converted; docs/migrating-from-kpack.md tells of each")
	}
	return printConverted(env, result)
}

// conversionInputs reads the files; none, or "-", is standard input.
func (env *Env) conversionInputs(files []string) ([]kpack.Input, error) {
	if len(files) == 0 {
		files = []string{"-"}
	}
	var inputs []kpack.Input
	for _, file := range files {
		in, name := io.NopCloser(env.In), "standard input"
		if file != "-" {
			opened, err := os.Open(file)
			if err != nil {
				return nil, fault.New(fault.Usage, "read", file, errors.Unwrap(err))
			}
			in, name = opened, file
		}
		text, err := io.ReadAll(io.LimitReader(in, kpack.MaxText+1))
		in.Close()
		if err != nil {
			return nil, fault.New(fault.Failed, "read", name, err)
		}
		inputs = append(inputs, kpack.Input{Name: name, Text: text})
	}
	return inputs, nil
}

// converted is what `convert` gives a script.
type converted struct {
	Resources []any        `json:"resources"`
	Notes     []kpack.Note `json:"notes"`
}

func printConverted(env *Env, result *kpack.Result) error {
	if env.format == "" {
		for i, document := range result.Documents {
			if i > 0 {
				fmt.Fprintln(env.Out, "---")
			}
			if _, err := env.Out.Write(document); err != nil {
				return err
			}
		}
		return nil
	}
	out := converted{Resources: make([]any, len(result.Documents)), Notes: result.Notes}
	for i, document := range result.Documents {
		if err := yaml.Unmarshal(document, &out.Resources[i]); err != nil {
			return err
		}
	}
	return encode(env.Out, env.format, out)
}
