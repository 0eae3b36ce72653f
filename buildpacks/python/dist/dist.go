// Package dist takes a folder of installed Python projects and gives the packages in it.
package dist

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
	"plimsoll.dev/plimsoll/buildpacks/python/requirement"
)

// Packages gives the projects that have a dist-info folder in one of the site folders
// (https://packaging.python.org/en/latest/specifications/recording-installed-packages/).
func Packages(sites ...string) ([]sbom.Package, error) {
	var packages []sbom.Package
	for _, site := range sites {
		files, err := filepath.Glob(filepath.Join(site, "*.dist-info", "METADATA"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			p, err := read(file)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			packages = append(packages, p)
		}
	}
	return packages, nil
}

func read(file string) (sbom.Package, error) {
	f, err := os.Open(file)
	if err != nil {
		return sbom.Package{}, err
	}
	defer f.Close()
	return Parse(f)
}

// maxHead is how much of a METADATA file is read: its fields, and then the description.
const maxHead = 1 << 20

// Parse gives the package that a METADATA file describes
// (https://packaging.python.org/en/latest/specifications/core-metadata/). Lines that are no
// fields are passed over, as installers do.
func Parse(r io.Reader) (sbom.Package, error) {
	p := sbom.Package{Type: "pypi"}
	var license, expression string
	lines := bufio.NewScanner(io.LimitReader(r, maxHead))
	lines.Buffer(nil, maxHead)
	for lines.Scan() && lines.Text() != "" {
		field, value, _ := strings.Cut(lines.Text(), ":")
		switch value = strings.TrimSpace(value); strings.ToLower(field) {
		case "name":
			p.Name = requirement.Normalize(value)
		case "version":
			p.Version = value
		case "license":
			license = value
		case "license-expression":
			expression = value
		}
	}
	if err := lines.Err(); err != nil {
		return sbom.Package{}, err
	}
	if p.Name == "" || p.Version == "" {
		return sbom.Package{}, errors.New("it names no project or no version")
	}
	// The older field often holds a whole text; its first line alone would mislead.
	if license = cmp.Or(expression, license); license != "" && license != "UNKNOWN" && len(license) <= 60 {
		p.Licenses = []string{license}
	}
	return p, nil
}
