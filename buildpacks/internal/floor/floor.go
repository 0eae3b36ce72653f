// Package floor takes a platform's folder and gives the lowest versions of dependencies that
// the build may use.
//
// A platform that wants some puts the file overrides/overrides.json into that folder: a list of
// objects with the fields of Floor. Another platform has no such file, and then there are none.
package floor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/osv-scalibr/semantic"
)

// The ecosystems, by OSV's names.
const (
	NPM  = "npm"
	Go   = "Go"
	PyPI = "PyPI"
)

// Floor is the lowest version of a package that the build may use.
type Floor struct {
	Name      string `json:"name"`      // of the override that says so
	Ecosystem string `json:"ecosystem"` // "npm", "Go", "PyPI"
	Package   string `json:"package"`   // by the ecosystem's name
	Version   string `json:"version"`   // by the ecosystem's rules; Go's begin with "v"
	Major     bool   `json:"major"`     // may cross a major version
}

const (
	maxBytes   = 1 << 20
	maxVersion = 256 // bytes
)

// Read gives the floors of an ecosystem from the platform's folder.
func Read(platform, ecosystem string) ([]Floor, error) {
	f, err := os.Open(filepath.Join(platform, "overrides", "overrides.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read overrides: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil || len(text) > maxBytes {
		return nil, errors.Join(errors.New("read overrides: want a file of at most 1 MiB"), err)
	}
	return parse(text, ecosystem)
}

func parse(text []byte, ecosystem string) ([]Floor, error) {
	var all, wanted []Floor
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read overrides: %w", err)
	}
	for _, f := range all {
		if f.Ecosystem != ecosystem {
			continue
		}
		if _, err := Compare(ecosystem, f.Version, f.Version); err != nil || f.Package == "" {
			return nil, fmt.Errorf("override %s: %q is no version of %q", f.Name, f.Version, f.Package)
		}
		wanted = append(wanted, f)
	}
	return wanted, nil
}

// Below tells whether the version is lower than the floor. One that cannot be read is not: what
// ends up in the image is looked at again.
func (f Floor) Below(version string) bool {
	order, err := Compare(f.Ecosystem, version, f.Version)
	return err == nil && order < 0
}

// Crossing gives an error when raising that version to the floor would cross a major version,
// which the override does not allow.
func (f Floor) Crossing(version string) error {
	if f.Major || Major(f.Ecosystem, version) == Major(f.Ecosystem, f.Version) {
		return nil
	}
	return fmt.Errorf("override %s: %s %s is of another major than %s, which the application uses: update it there, or set major: true in the override", f.Name, f.Package, f.Version, version)
}

// Compare gives -1 when a is older than b, 1 when it is newer, else 0.
func Compare(ecosystem, a, b string) (order int, err error) {
	if len(a) > maxVersion || len(b) > maxVersion || !numbers.MatchString(a) || !numbers.MatchString(b) {
		return 0, errors.New("no version")
	}
	defer func() {
		if cause := recover(); cause != nil { // foreign versions: some readers die of them
			err = fmt.Errorf("compare %q and %q: %v", a, b, cause)
		}
	}()
	left, err := semantic.Parse(strings.TrimPrefix(a, "v"), ecosystem)
	if err != nil {
		return 0, err
	}
	return left.CompareStr(strings.TrimPrefix(b, "v"))
}

var numbers = regexp.MustCompile(`^v?(?:(\d+)!)?(\d+)(?:\.(\d+))?(?:\.(\d+))?(.*)$`)

// Major gives what versions that promise to fit each other have in common, or "" for what is no
// version.
//
//   - npm: the first number; before 1.0.0 the first that is not 0, as in its range ^0.2.3
//   - Go: nothing before v2, and then the module's path has it, too (https://go.dev/ref/mod)
//   - PyPI: the epoch and the first number (PEP 440)
func Major(ecosystem, version string) string {
	parts := numbers.FindStringSubmatch(version)
	if parts == nil {
		return ""
	}
	epoch, first, second, third := parts[1], parts[2], parts[3], parts[4]
	switch {
	case ecosystem == PyPI:
		return zero(epoch) + "!" + zero(first)
	case ecosystem == Go:
		if n, err := strconv.Atoi(first); err == nil && n < 2 {
			return "0"
		}
		return zero(first)
	case zero(first) != "0":
		return zero(first)
	case zero(second) != "0":
		return "0." + zero(second)
	}
	return "0.0." + zero(third)
}

// zero gives a number without zeros before it; none is 0.
func zero(digits string) string {
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		return "0"
	}
	return digits
}
