package access_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

var (
	shown   = regexp.MustCompile("(?s)\n(apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\n.*?\n)(?:```|[$] )")
	roleRow = regexp.MustCompile(`(?m)^\| (reader|publisher|approver|admin) \|(.*)\|$`)
)

// TestDocumentIsTrue reads what docs/registry-access.md shows of registry.yaml, and asks the
// registry for its table of roles.
func TestDocumentIsTrue(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/registry-access.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	folder := t.TempDir()
	htpasswd(t, filepath.Join(folder, "users"), map[string]string{"ann": "secret"})
	files := shown.FindAllStringSubmatch(text, -1)
	if len(files) != 3 {
		t.Errorf("it shows %d files: has its form changed?", len(files))
	}
	for _, file := range files {
		if _, err := settings.Parse([]byte(file[1]), folder, access.Check); err != nil {
			t.Errorf("%v:\n%s", err, file[1])
		}
	}
	rows := roleRow.FindAllStringSubmatch(text, -1)
	if len(rows) != 4 {
		t.Fatalf("it shows %d roles", len(rows))
	}
	for _, row := range rows {
		b := serve(t, fmt.Sprintf("\n  auth: {htpasswd: users}\n  projects: [{name: team, members: [{user: bob, role: %s}]}]\n", row[1]))
		cells := strings.Split(row[2], "|")
		for action, cell := range map[string]int{"pull": 0, "push": 1, "delete": 4} {
			token := b.tokens(b.ask(asking{path: "/token?scope=repository:team/app:" + action, user: "bob", password: "bob-secret"}))
			if got, want := token.Scope != "", strings.TrimSpace(cells[cell]) == "yes"; got != want {
				t.Errorf("%s: %s is %t, the document says %t", row[1], action, got, want)
			}
		}
	}
}
