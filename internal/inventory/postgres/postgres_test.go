package postgres_test

import (
	"testing"

	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
	"plimsoll.dev/plimsoll/internal/testbed"
)

func TestConformance(t *testing.T) {
	server := testbed.Postgres(t)
	inventorytest.Run(t, func(t testing.TB) string { return inventorytest.Database(t, server) })
}
