package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/judge"
	"plimsoll.dev/plimsoll/internal/site/known"
	"plimsoll.dev/plimsoll/internal/site/ledger"
	"plimsoll.dev/plimsoll/internal/site/verify"
	"plimsoll.dev/plimsoll/internal/vuln/vex"
)

type attestOptions struct{ kind, file, platform string }

func newAttest(env *Env) *cobra.Command {
	var o attestOptions
	cmd := &cobra.Command{
		Use:   "attest REF",
		Short: "Vouch for an image that is there, or for something about it",
		Long: `Attest makes for an image of anybody's what a build makes for its own: SBOMs, a hardening report, a
malware report where a scanner is configured, and signatures, put beside it. An index and all its
images are signed. How the image came about it does not say: nobody here saw it.

With --type and --predicate it signs what a file says of the image instead: test results, VEX
statements, vulnerabilities that a scanner found, or any predicate of in-toto, as a JSON object. What
Plimsoll makes itself, from the image, no file says: signatures, provenance, SBOMs, and reports on
hardening and malware.` + "\n" + exitCodes,
		Example: `  plimsoll attest registry.example.com/theirs:1
  plimsoll attest shop:1 --type tests --predicate results.json
  plimsoll attest shop:1 --type vex --predicate shop.openvex.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runAttest(cmd.Context(), env, o, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kind, "type", "", "what the predicate is: tests, vex, vulns, or another predicate type (a URI)")
	flags.StringVar(&o.file, "predicate", "", "file that holds the predicate; - is standard input")
	flags.StringVar(&o.platform, "platform", "", "platform that the predicate is about, of an image that has several")
	cmd.MarkFlagsRequiredTogether("type", "predicate")
	return cmd
}

func runAttest(ctx context.Context, env *Env, o attestOptions, text string) error {
	ref, err := oci.Parse(text)
	if err != nil {
		return err
	}
	if o.kind == "" {
		return runVouch(ctx, env, ref)
	}
	predicate, err := attestable(o.kind)
	if err != nil {
		return err
	}
	data, err := readPredicate(env, o.file)
	if err != nil {
		return err
	}
	if err := checkPredicate(predicate, o.file, data); err != nil {
		return err
	}
	found, err := known.Look(ctx, env.home(), text, o.platform)
	if err != nil {
		return err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return err
	}
	evidence := artifact.Evidence{Subject: found.Contents.Image, PredicateType: predicate, Predicate: compact.Bytes()}
	if err := ledger.Attach(ctx, env.home(), found.Ref, found.Image, evidence); err != nil {
		return err
	}
	judge.Remember(ctx, env.home(), text)
	out := attested{Ref: ref.String(), Digest: found.Contents.Image, Evidence: []string{verify.Name(predicate)}}
	return env.print(out, out.table)
}

// attestable gives the type of that name, if a file may say it. What Plimsoll makes itself is
// no file's word: verifiers take it for what was seen here.
func attestable(name string) (string, error) {
	predicate := verify.Predicates([]string{name})[0]
	switch predicate {
	case artifact.PredicateSignature, artifact.PredicateProvenance, artifact.PredicateSPDX, artifact.PredicateCycloneDX,
		artifact.PredicateHardening, artifact.PredicateMalware, artifact.PredicateVSA:
		return "", fault.Newf(fault.Usage, "read flags", "--type "+name, "Plimsoll makes that itself, from what it sees").
			WithHint("`plimsoll attest` without --type makes what can be made of an image; what others say goes by a URI of its own")
	}
	if !strings.Contains(predicate, "://") {
		return "", fault.Newf(fault.Usage, "read flags", "--type "+name, "it is neither a type that is known nor a URI").
			WithHint("want tests, vex, vulns or a URI")
	}
	return predicate, nil
}

// checkPredicate refuses what is no JSON object, and of the types that are known what has
// not their shape: in-toto's test result and vulnerabilities (attestation,
// spec/predicates/test-result.md and vuln.md), and VEX whose statements are understood.
func checkPredicate(predicate, file string, data []byte) error {
	var object map[string]json.RawMessage
	err := json.Unmarshal(data, &object)
	if err == nil && object == nil {
		err = errors.New("it is null")
	}
	if err != nil {
		return fault.New(fault.Usage, "read predicate", file, err).WithHint("a predicate is a JSON object")
	}
	switch predicate {
	case artifact.PredicateVEX:
		_, err := vex.Parse(data, file, "")
		return err
	case artifact.PredicateTestResult:
		return checkTests(file, data)
	case artifact.PredicateVulns:
		return checkVulns(file, data)
	}
	return nil
}

func checkTests(file string, data []byte) error {
	var tests struct {
		Result        string            `json:"result"`
		Configuration []json.RawMessage `json:"configuration"`
	}
	err := json.Unmarshal(data, &tests)
	switch {
	case err != nil:
	case !slices.Contains([]string{"PASSED", "WARNED", "FAILED"}, tests.Result):
		err = fmt.Errorf("its result is %q, want PASSED, WARNED or FAILED", tests.Result)
	case len(tests.Configuration) == 0:
		err = errors.New("it has no configuration: what was tested with")
	default:
		return nil
	}
	return fault.New(fault.Usage, "read test result", file, err).
		WithHint(`want {"result": "PASSED", "configuration": [{"name": "what was tested with"}]}`)
}

func checkVulns(file string, data []byte) error {
	var found struct {
		Scanner struct {
			URI    string            `json:"uri"`
			Result []json.RawMessage `json:"result"`
		} `json:"scanner"`
		Metadata map[string]json.RawMessage `json:"metadata"`
	}
	err := json.Unmarshal(data, &found)
	switch {
	case err != nil:
	case found.Scanner.URI == "":
		err = errors.New("it names no scanner.uri")
	case found.Metadata["scanFinishedOn"] == nil:
		err = errors.New("it has no metadata.scanFinishedOn")
	default:
		return nil
	}
	return fault.New(fault.Usage, "read vulnerabilities", file, err).
		WithHint(`want {"scanner": {"uri": "…", "result": […]}, "metadata": {"scanStartedOn": "…", "scanFinishedOn": "…"}}`)
}

// readPredicate reads a file of JSON, or standard input.
func readPredicate(env *Env, file string) ([]byte, error) {
	const most = 32 << 20
	in := env.In
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, fault.New(fault.NotFound, "read predicate", file, err)
		}
		defer opened.Close()
		in = opened
	}
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	switch {
	case err != nil:
		return nil, fault.New(fault.Failed, "read predicate", file, err)
	case len(data) > most:
		return nil, fault.Newf(fault.Usage, "read predicate", file, fmt.Sprintf("it has more than %d bytes", most))
	}
	return data, nil
}

// attested is what `attest` gives a script.
type attested struct {
	Ref      string   `json:"ref"`
	Digest   string   `json:"digest"`
	Evidence []string `json:"evidence"`
}

func (a attested) table(w io.Writer) {
	fmt.Fprintf(w, "%s@%s\n%s\n", a.Ref, a.Digest, strings.Join(a.Evidence, ", "))
}

// runVouch issues all evidence of every image that the reference names.
func runVouch(ctx context.Context, env *Env, ref oci.Reference) error {
	vouched, err := ledger.Vouch(ctx, env.home(), ref)
	if err != nil {
		return err
	}
	out := attested{Ref: ref.String(), Digest: vouched.Digest.String()}
	for _, predicate := range vouched.Predicates {
		out.Evidence = append(out.Evidence, verify.Name(predicate))
	}
	return env.print(out, out.table)
}
