package program

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// held is a test as docs/security.md names it: by its package's folder below internal.
var held = regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)\\w+)`")

// TestThreatsAreHeld: each line of the tables of threats names a test, and each named test is in the
// package that it is said to be in.
func TestThreatsAreHeld(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, threats, _ := strings.Cut(string(text), "\n## Threats\n")
	threats, _, _ = strings.Cut(threats, "\n## ")
	lines := 0
	for line := range strings.Lines(threats) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| who |") || strings.HasPrefix(line, "| --- |") {
			continue
		}
		lines++
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) != 4 {
			t.Errorf("this line has %d cells: %s", len(cells), line)
			continue
		}
		named := held.FindAllStringSubmatch(cells[3], -1)
		if rest := strings.Trim(held.ReplaceAllString(cells[3], ""), ", "); len(named) == 0 || rest != "" {
			t.Errorf("what holds this line is not named in the form `folder.TestName`: %s", line)
		}
		for _, m := range named {
			if !hasTest(t, m[1], m[2]) {
				t.Errorf("internal/%s has no %s, which holds: %s", m[1], m[2], line)
			}
		}
	}
	if lines < 50 {
		t.Errorf("there are %d lines: has the form of the tables changed?", lines)
	}
}

// hasTest tells whether a package has the test.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^func ` + name + `\(\w+ \*testing\.[TF]\)`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if declared.Match(text) {
			return true
		}
	}
	return false
}
