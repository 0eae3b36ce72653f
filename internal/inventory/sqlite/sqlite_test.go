package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
)

func empty(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "inventory.db") }

func TestConformance(t *testing.T) { inventorytest.Run(t, empty) }

func TestReleasedSchemas(t *testing.T) { inventorytest.Released(t, empty) }

func TestPathsAreTakenAsTheyAre(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder?mode=ro", "100%#.db")
	inv, err := inventory.Open(t.Context(), "sqlite:"+path, inventory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := inv.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.db")
	if err := os.WriteFile(broken, []byte("this is no database, and long enough to be seen as none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"sqlite:", "sqlite:" + broken, "sqlite:/proc/nowhere/x.db", "mysql://x", "inventory.db"} {
		_, err := inventory.Open(t.Context(), address, inventory.Options{})
		if err == nil || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v, want a refusal with a hint", address, err)
		}
	}
}
