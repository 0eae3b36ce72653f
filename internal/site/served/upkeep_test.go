package served

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// The settings that the documents show are taken as they are.
func TestSettingsOfDocuments(t *testing.T) {
	text, err := os.ReadFile("../../../docs/registry-operations.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(block[1], "kind: Registry") {
			continue
		}
		shown++
		s, err := settings.Parse([]byte(block[1]), t.TempDir(), Checks()...)
		if err != nil {
			t.Error(err)
		} else if len(s.Projects) == 0 {
			t.Error("they say nothing of a project")
		}
	}
	if shown == 0 {
		t.Error("the document shows no settings")
	}
}
