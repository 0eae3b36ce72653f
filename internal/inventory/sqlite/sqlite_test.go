package sqlite_test

import (
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
)

func TestConformance(t *testing.T) {
	inventorytest.Run(t, func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "inventory.db") })
}
