package program

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	code    = regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")
	place   = regexp.MustCompile(`\b(?:api|artifact|cmd|conformance|docs|examples|internal|interop|lifecycle|scripts)/[\w./-]*\w`)
	link    = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	command = regexp.MustCompile(`\bplimsoll ([a-z]+)(?: ([a-z]+))?`)
)

// TestDocumentsAreTrue holds every folder, link and command that the documents name
// against what is there.
func TestDocumentsAreTrue(t *testing.T) {
	root := "../.."
	var documents []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, found...)
	}
	commands := 0
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", document, m[1])
			}
		}
		for _, span := range code.FindAllString(string(text), -1) {
			for _, named := range place.FindAllString(span, -1) {
				if _, err := os.Stat(filepath.Join(root, named)); err != nil {
					t.Errorf("%s names %s, which is not there", document, named)
				}
			}
			for _, m := range command.FindAllStringSubmatch(span, -1) {
				commands++
				if !isCommand(t, m[1], m[2]) {
					t.Errorf("%s names the command %q, which is not there", document, strings.TrimSpace(m[0]))
				}
			}
		}
	}
	if commands == 0 {
		t.Error("the documents name no command: has the form of code spans changed?")
	}
}

// isCommand tells whether the words are a command; a group needs both.
func isCommand(t *testing.T, first, second string) bool {
	t.Helper()
	help := func(words ...string) string {
		var out bytes.Buffer
		host := Host{In: strings.NewReader(""), Out: &out, Err: &out, Getenv: func(string) string { return t.TempDir() }}
		Run(t.Context(), host, append([]string{"help"}, words...)) // kubectl takes --help for its own
		return out.String()
	}
	text := help(first)
	if !strings.Contains(text, "plimsoll "+first) {
		return false
	}
	if isGroup := strings.Contains(text, "plimsoll "+first+" [command]"); !isGroup || second == "" {
		return true
	}
	return strings.Contains(help(first, second), "plimsoll "+first+" "+second)
}
