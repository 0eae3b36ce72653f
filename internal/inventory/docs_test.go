package inventory_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

var examples = regexp.MustCompile("(?s)```query\n(.*?)```")

// TestTheDocumentsExamples asks every question of docs/query.md.
func TestTheDocumentsExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/query.md")
	if err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "inventory.db"), inventory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer inv.Close()
	if err := inv.Put(t.Context(), inventorytest.Fleet()...); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, block := range examples.FindAllStringSubmatch(string(text), -1) {
		for question := range strings.Lines(block[1]) {
			asked++
			q, err := query.Parse(strings.TrimSpace(question))
			if err != nil {
				t.Error(err)
				continue
			}
			if _, err := inv.Query(t.Context(), q, inventory.Page{}); err != nil {
				t.Errorf("%s: %v", question, err)
			}
		}
	}
	if asked < 20 {
		t.Errorf("only %d examples were found: has their form changed?", asked)
	}
}
