package vsa

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/json"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Limits of what is read.
const (
	maxPredicate = 1 << 20 // bytes
	maxEntries   = 1024    // of a list or a map
	maxText      = 4096    // bytes of a name
)

var (
	slsaLevel   = regexp.MustCompile(`^SLSA_([A-Z]+)_LEVEL_[0-9]$`)
	slsaVersion = regexp.MustCompile(`^1\.[0-9]{1,3}$`)
	hexDigest   = regexp.MustCompile(`^([0-9a-f]{2}){16,64}$`)
)

// Parse reads a predicate of type artifact.PredicateVSA, by whomever. Fields it does not know are
// passed over, as the specification wants; what the specification requires must be there, and
// nothing may be said twice or by halves.
func Parse(predicate []byte) (Summary, error) {
	s, err := parse(predicate)
	if err != nil {
		return Summary{}, fault.New(fault.Denied, "read the verification summary", "", err)
	}
	return s, nil
}

func parse(predicate []byte) (s Summary, err error) {
	if len(predicate) > maxPredicate {
		return Summary{}, fmt.Errorf("larger than %d bytes", maxPredicate)
	}
	// Field names are taken as they are written: a reader that minds no case and another that does
	// would read different results out of one summary.
	twice, err := json.UnmarshalStrict(predicate, &s, json.DisallowDuplicateFields)
	if err = errors.Join(append(twice, err)...); err != nil {
		return Summary{}, err
	}
	for _, check := range []func(Summary) error{checkNames, checkInputs, checkLevels, checkPoint} {
		if err := check(s); err != nil {
			return Summary{}, err
		}
	}
	return s, nil
}

func checkNames(s Summary) error {
	for _, name := range []struct{ field, uri string }{
		{"verifier.id", s.Verifier.ID}, {"resourceUri", s.ResourceURI}, {"policy.uri", s.Policy.URI},
	} {
		if err := checkURI(name.uri); err != nil {
			return fmt.Errorf("%s: %w", name.field, err)
		}
	}
	switch {
	case s.TimeVerified.IsZero():
		return errors.New("timeVerified: missing")
	case s.SLSAVersion != "" && !slsaVersion.MatchString(s.SLSAVersion):
		return fmt.Errorf("slsaVersion: %q is no version 1.x", s.SLSAVersion)
	case len(s.Verifier.Version) > maxEntries:
		return fmt.Errorf("verifier.version: more than %d parts", maxEntries)
	}
	return checkDigests("policy.digest", s.Policy.Digest)
}

func checkURI(text string) error {
	if len(text) > maxText {
		return fmt.Errorf("longer than %d bytes", maxText)
	}
	if u, err := url.Parse(text); err != nil || !u.IsAbs() {
		return fmt.Errorf("%q is no URI", text)
	}
	return nil
}

func checkDigests(field string, digests map[string]string) error {
	if len(digests) > maxEntries {
		return fmt.Errorf("%s: more than %d digests", field, maxEntries)
	}
	for algorithm, hex := range digests {
		if algorithm == "" || len(algorithm) > maxText || !hexDigest.MatchString(hex) {
			return fmt.Errorf("%s: %q is no digest", field, algorithm)
		}
	}
	return nil
}

func checkInputs(s Summary) error {
	if len(s.InputAttestations) > maxEntries {
		return fmt.Errorf("inputAttestations: more than %d", maxEntries)
	}
	for i, input := range s.InputAttestations {
		field := fmt.Sprintf("inputAttestations[%d]", i)
		if len(input.Digest) == 0 {
			return fmt.Errorf("%s.digest: missing", field)
		}
		if err := checkDigests(field+".digest", input.Digest); err != nil {
			return err
		}
		if input.URI != "" {
			if err := checkURI(input.URI); err != nil {
				return fmt.Errorf("%s.uri: %w", field, err)
			}
		}
	}
	return nil
}

func checkLevels(s Summary) error {
	if s.VerificationResult != Passed && s.VerificationResult != Failed {
		return fmt.Errorf("verificationResult: %q is neither %s nor %s", s.VerificationResult, Passed, Failed)
	}
	if len(s.VerifiedLevels) > maxEntries || len(s.DependencyLevels) > maxEntries {
		return fmt.Errorf("verifiedLevels: more than %d", maxEntries)
	}
	tracks := map[string]bool{}
	for _, level := range s.VerifiedLevels {
		if err := checkLevel(level); err != nil {
			return fmt.Errorf("verifiedLevels: %w", err)
		}
		if (level == failedLevel) != (s.VerificationResult == Failed) {
			return fmt.Errorf("verifiedLevels: %q beside the result %s", level, s.VerificationResult)
		}
		track := level
		if match := slsaLevel.FindStringSubmatch(level); match != nil {
			track = match[1]
		}
		if tracks[track] {
			return fmt.Errorf("verifiedLevels: %q: two levels of one track", level)
		}
		tracks[track] = true
	}
	if s.VerificationResult == Failed && len(s.VerifiedLevels) == 0 {
		return fmt.Errorf("verifiedLevels: want %q", failedLevel)
	}
	for level, n := range s.DependencyLevels {
		if err := checkLevel(level); err != nil || n < 0 {
			return fmt.Errorf("dependencyLevels: %q: %d: no count of a level", level, n)
		}
	}
	return nil
}

// checkLevel wants a value that the specification knows or leaves to others ("SlsaResult"). Tracks
// of later minor versions are taken as they come.
func checkLevel(level string) error {
	switch {
	case level == "" || len(level) > maxText:
		return errors.New("empty or too long")
	case strings.HasPrefix(level, "SLSA_") && !slsaLevel.MatchString(level):
		return fmt.Errorf("%q is no level of SLSA", level)
	}
	return nil
}

func checkPoint(s Summary) error {
	if s.At == nil {
		return nil
	}
	switch {
	case len(s.At.Exceptions) > maxEntries:
		return fmt.Errorf("exceptions: more than %d", maxEntries)
	case (s.At.Action == artifact.ActionDeny) != (s.VerificationResult == Failed):
		return fmt.Errorf("action: %q beside the result %s", s.At.Action, s.VerificationResult)
	case s.At.Action.Rank() == artifact.ActionDeny.Rank() && s.At.Action != artifact.ActionDeny:
		return fmt.Errorf("action: %q is none", s.At.Action)
	}
	return nil
}

// Vouches gives nil when the summary, whose signer and subject somebody else has verified, lets
// this very image through this gate at this time by the word of this verifier (SLSA v1.1,
// "verifier": consumers accept only pairs of signer and verifier that they know). It may be as old
// as maxAge: what it does not tell is what has become known since.
func (s Summary) Vouches(verifier, repository, digest string, gate artifact.Gate, now time.Time, maxAge time.Duration) error {
	var why string
	switch {
	case s.Verifier.ID != verifier:
		why = fmt.Sprintf("%q verified it", s.Verifier.ID)
	case s.ResourceURI != resourceURI(repository, digest):
		why = fmt.Sprintf("it is about %q", s.ResourceURI)
	case s.At == nil || s.At.Gate != gate:
		why = fmt.Sprintf("it is not about the gate %s", gate)
	case s.VerificationResult != Passed:
		why = "it did not pass"
	case s.TimeVerified.After(now):
		why = "it is of the future"
	case now.Sub(s.TimeVerified) > maxAge, s.At.Until != nil && !now.Before(*s.At.Until):
		why = "its time is over"
	default:
		return nil
	}
	return fault.Newf(fault.Denied, "believe the verification summary", repository+"@"+digest, why)
}
