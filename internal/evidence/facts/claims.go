package facts

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/malware"
)

// Bounds of what is read of claims. Whoever signs is trusted, but what they sign can be made
// from what others gave them.
const (
	maxPredicate = 4 << 20 // bytes of one, bills of materials apart
	maxListed    = 2_000   // entries of a list, of which policies read no more than half
	maxText      = 1 << 10 // bytes
)

// claim is what somebody who is trusted says of the manifest.
type claim struct {
	by        string
	predicate json.RawMessage
	kind      string
}

// claimsOf gives the verified claims. All are about the report's image.
func claimsOf(r attest.Report) []claim {
	var all []claim
	for _, c := range r.Checks {
		if e, ok := c.Evidence(); ok {
			all = append(all, claim{identity(c), e.Predicate, e.PredicateType})
		}
	}
	return all
}

// identity gives who signed, without who vouches for that.
func identity(c attest.Check) string { return strings.TrimSuffix(c.By, " ("+c.Issuer+")") }

// read decodes a predicate of bounded size.
func (c claim) read(into any) error {
	if len(c.predicate) > maxPredicate {
		return fmt.Errorf("it has more than %d bytes", maxPredicate)
	}
	return json.Unmarshal(c.predicate, into)
}

// testsOf gives what all test results come to (in-toto attestation,
// spec/predicates/test-result.md): the worst of them, and a failure where one cannot be read.
func testsOf(claims []claim) *artifact.TestFacts {
	const passed, warned, failed = "PASSED", "WARNED", "FAILED"
	var out *artifact.TestFacts
	for _, c := range claims {
		if c.kind != artifact.PredicateTestResult {
			continue
		}
		if out == nil {
			out = &artifact.TestFacts{Result: passed}
		}
		var r hardening.TestResult
		err := c.read(&r)
		switch {
		case err != nil, r.Result != passed && r.Result != warned, len(r.FailedTests) > 0:
			out.Result = failed
		case out.Result == passed && (r.Result == warned || len(r.WarnedTests) > 0):
			out.Result = warned
		}
		out.Passed, out.Failed = append(out.Passed, r.PassedTests...), append(out.Failed, r.FailedTests...)
	}
	if out != nil {
		out.Passed, out.Failed = listed(out.Passed), listed(out.Failed)
	}
	return out
}

// malwareOf gives what our own scan came to; without a scanner the worst of what reports
// that are verified say.
func malwareOf(in Input, claims []claim, layers []string) *artifact.MalwareFacts {
	if in.Scanned || in.Malware != nil {
		if in.Malware == nil {
			return nil
		}
		return malwareFacts(*in.Malware, layers)
	}
	var out *artifact.MalwareFacts
	for _, c := range claims {
		if c.kind != artifact.PredicateMalware {
			continue
		}
		var r malware.Report
		one := &artifact.MalwareFacts{Result: string(malware.Incomplete)}
		if c.read(&r) == nil {
			one = malwareFacts(r, layers)
		}
		if out == nil || worse(one, out) < 0 {
			out = one
		}
	}
	return out
}

// worse puts the worse of two reports first, and of equal ones the newer.
func worse(a, b *artifact.MalwareFacts) int {
	rank := func(m *artifact.MalwareFacts) int {
		return slices.Index([]string{string(malware.Infected), string(malware.Incomplete), string(malware.Clean)}, m.Result)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), b.Signatures.Compare(a.Signatures))
}

// malwareFacts holds a report against itself and against the layers that there are: one
// that does not tell of each is not complete.
func malwareFacts(r malware.Report, layers []string) *artifact.MalwareFacts {
	out := &artifact.MalwareFacts{Result: string(malware.Incomplete), Scanner: cut(r.Scanner.Engine), Signatures: r.Scanner.Released.UTC()}
	unscanned := false
	told := map[string]bool{}
	for _, l := range r.Layers {
		told[l.Layer] = true
		unscanned = unscanned || len(l.Unscanned) > 0
		for _, f := range l.Infected {
			out.Infected = append(out.Infected, f.Path+": "+f.Signature)
		}
	}
	untold := slices.ContainsFunc(layers, func(l string) bool { return !told[l] })
	switch {
	case r.Result == malware.Infected || len(out.Infected) > 0:
		out.Result = string(malware.Infected)
	case r.Result == malware.Clean && !unscanned && !untold:
		out.Result = string(malware.Clean)
	}
	out.Infected = listed(out.Infected)
	return out
}

// hardeningOf gives what the report says; nil when it could not tell all it found.
func hardeningOf(r hardening.Report) *artifact.HardeningFacts {
	if r.Skipped.More > 0 {
		return nil
	}
	out := &artifact.HardeningFacts{Root: r.User.Root, NumericUser: r.User.Numeric, Checks: map[string]string{}}
	kinds := map[hardening.ProgramKind]*[]string{
		hardening.Shell: &out.Shells, hardening.PackageManager: &out.PackageManagers,
		hardening.Compiler: &out.Compilers, hardening.RemoteAccess: &out.RemoteAccess,
	}
	for _, p := range r.Programs {
		if into := kinds[p.Kind]; into != nil {
			*into = append(*into, "/"+p.Path)
		}
	}
	for _, f := range r.SetID {
		out.SetID = append(out.SetID, "/"+f.Path)
	}
	for _, s := range r.Secrets {
		if !s.Sample {
			out.Secrets = append(out.Secrets, strings.TrimSpace(fmt.Sprintf("%s in %s %s", s.Kind, s.In, s.Name)))
		}
	}
	for _, list := range []*[]string{&out.Shells, &out.PackageManagers, &out.Compilers, &out.RemoteAccess, &out.SetID, &out.Secrets} {
		*list = listed(*list)
	}
	for _, c := range r.Checks {
		out.Checks[c.ID] = string(c.Result)
	}
	return out
}

// listed sorts texts, each once, and bounds them. More than policies read stay, so that none
// takes what is left out for what is not there.
func listed(all []string) []string {
	for i := range all {
		all[i] = cut(all[i])
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(len(all), maxListed)]
}

// cut bounds a text, and makes it one that every database takes.
func cut(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func compareSignatures(a, b artifact.SignatureFacts) int {
	return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(a.Issuer, b.Issuer), a.At.Compare(b.At))
}
