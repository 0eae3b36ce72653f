package evidence

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/malware"
)

// Said is what a claim comes to.
type Said struct {
	Text    string // a few words for people, of which the claim's author chose some; "" where there is no short way to say it
	Against bool   // it speaks against the image: malware was found, tests have failed
}

// Says gives what evidence says of its image, so that nobody takes a claim that is verified
// for a claim that is good. It was verified; all the same it need not be what its type says.
func Says(e artifact.Evidence) Said {
	var said Said
	var err error
	switch e.PredicateType {
	case artifact.PredicateMalware:
		said, err = malwareSays(e.Predicate)
	case artifact.PredicateTestResult:
		said, err = testsSay(e.Predicate)
	case artifact.PredicateHardening:
		said, err = hardeningSays(e.Predicate)
	case artifact.PredicateProvenance:
		said, err = provenanceSays(e.Predicate)
	case artifact.PredicateVSA:
		said, err = summarySays(e.Predicate)
	}
	if err != nil {
		return Said{Text: "not to be read", Against: true}
	}
	return said
}

func malwareSays(predicate []byte) (Said, error) {
	var r malware.Report
	if err := json.Unmarshal(predicate, &r); err != nil {
		return Said{}, err
	}
	infected, unscanned := 0, 0
	for _, l := range r.Layers {
		infected, unscanned = infected+len(l.Infected), unscanned+len(l.Unscanned)
	}
	switch {
	case r.Result == malware.Infected || infected > 0:
		return Said{Text: "infected: " + count(infected, "file"), Against: true}, nil
	case r.Result == malware.Incomplete || unscanned > 0:
		return Said{Text: "incomplete: " + count(unscanned, "file") + " not scanned"}, nil
	case r.Result == malware.Clean:
		return Said{Text: "clean"}, nil
	}
	return Said{Text: "not to be read", Against: true}, nil
}

// testsSay reads an in-toto test result (spec/predicates/test-result.md).
func testsSay(predicate []byte) (Said, error) {
	var r hardening.TestResult
	if err := json.Unmarshal(predicate, &r); err != nil {
		return Said{}, err
	}
	said := Said{Text: r.Result, Against: r.Result != "PASSED" && r.Result != "WARNED"}
	if failed := len(r.FailedTests); failed > 0 {
		said.Text += ": " + count(failed, "test") + " failed"
	}
	return said, nil
}

func hardeningSays(predicate []byte) (Said, error) {
	var r hardening.Report
	if err := json.Unmarshal(predicate, &r); err != nil {
		return Said{}, err
	}
	passed, of, secrets := 0, 0, 0
	for _, c := range r.Checks {
		if c.Result == hardening.Info {
			continue
		}
		of++
		if c.Result == hardening.Pass {
			passed++
		}
	}
	for _, s := range r.Secrets {
		if !s.Sample {
			secrets++
		}
	}
	return Said{Text: fmt.Sprintf("%d of %d checks pass, %s", passed, of, count(secrets, "secret"))}, nil
}

// provenanceSays names the build type and the source, by whomever the provenance is.
func provenanceSays(predicate []byte) (Said, error) {
	type resource struct {
		Name   string            `json:"name"`
		URI    string            `json:"uri"`
		Digest map[string]string `json:"digest"`
	}
	var p struct {
		BuildDefinition struct {
			BuildType            string     `json:"buildType"`
			ResolvedDependencies []resource `json:"resolvedDependencies"`
		} `json:"buildDefinition"`
	}
	if err := json.Unmarshal(predicate, &p); err != nil {
		return Said{}, err
	}
	text := p.BuildDefinition.BuildType
	if at, err := url.Parse(text); err == nil && at.Fragment != "" {
		text = at.Fragment
	}
	all := p.BuildDefinition.ResolvedDependencies
	from := slices.IndexFunc(all, func(r resource) bool {
		return r.Name == "source" || strings.HasPrefix(r.URI, "git+")
	})
	if from < 0 {
		return Said{Text: text}, nil
	}
	text += " of " + cmp.Or(all[from].URI, "a folder")
	revision := cmp.Or(all[from].Digest["gitCommit"], all[from].Digest["sha256"], all[from].Digest["plimsollTree1"])
	if revision != "" && !strings.Contains(text, revision) {
		text += fmt.Sprintf(" at %.12s", revision)
	}
	return Said{Text: text}, nil
}

// summarySays reads a verification summary (SLSA v1.1), by whomever it is.
func summarySays(predicate []byte) (Said, error) {
	var s struct {
		Result   string    `json:"verificationResult"`
		Verified time.Time `json:"timeVerified"`
	}
	if err := json.Unmarshal(predicate, &s); err != nil {
		return Said{}, err
	}
	return Said{Text: fmt.Sprintf("%s on %s", s.Result, s.Verified.Format(time.DateOnly)), Against: s.Result != "PASSED"}, nil
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
