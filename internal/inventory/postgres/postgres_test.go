package postgres_test

import (
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
	"plimsoll.dev/plimsoll/internal/testbed"
)

func TestConformance(t *testing.T) {
	server := testbed.Postgres(t)
	empty := func(t testing.TB) string { return inventorytest.Database(t, server) }
	inventorytest.Run(t, empty)
	t.Run("ReleasedSchemas", func(t *testing.T) { inventorytest.Released(t, empty) })
}

func TestErrorsKeepThePassword(t *testing.T) {
	const password = "hunter2"
	for _, c := range []struct {
		address string
		kind    fault.Kind
	}{
		{"postgres://user:" + password + "@127.0.0.1:1/db?connect_timeout=2", fault.Unavailable},
		{"postgres://user:" + password + "@127.0.0.1:notaport/db", fault.Usage},
		{"postgres://user:" + password + "@[::1/db", fault.Usage},
		{"postgres://user:" + password + "@127.0.0.1/db?sslmode=nonsense", fault.Usage},
		{"postgres:" + password, fault.Usage},
	} {
		_, err := inventory.Open(t.Context(), c.address, inventory.Options{})
		if err == nil || fault.KindOf(err) != c.kind || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v, want kind %d and a hint", c.address, err, c.kind)
			continue
		}
		if strings.Contains(err.Error()+fault.HintOf(err), password) {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}
