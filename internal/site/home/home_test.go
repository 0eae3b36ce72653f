package home

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"plimsoll.dev/plimsoll/internal/keys"
)

func newHome(t *testing.T) *Home {
	t.Helper()
	t.Setenv("PLIMSOLL_KEY_PASSWORD", "")
	h := New(t.TempDir(), nil, Options{Warn: func(line, hint string) { t.Errorf("warned: %s (%s)", line, hint) }})
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// TestInventoryIsOpenedOnce: all who ask at once get one, and another when a user removed its file.
func TestInventoryIsOpenedOnce(t *testing.T) {
	h := newHome(t)
	first, err := h.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			if again, err := h.Inventory(t.Context()); err != nil || again != first {
				t.Errorf("another is opened: %v", err)
			}
		})
	}
	asking.Wait()
	for _, name := range []string{"inventory.db", "inventory.db-wal", "inventory.db-shm"} {
		if err := os.Remove(h.Path(name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	second, err := h.Inventory(t.Context())
	if err != nil || second == first {
		t.Fatalf("what was removed is still written to: %v", err)
	}
	if _, err := second.Stats(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := first.Stats(t.Context()); err != nil {
		t.Errorf("who uses the old one still cannot: %v", err)
	}
}

// TestKeysThatAreReplacedSign: a process that lives on signs with the key that is in the folder now,
// for verifiers believe that.
func TestKeysThatAreReplacedSign(t *testing.T) {
	h := newHome(t)
	fingerprint := func() string {
		t.Helper()
		signers, err := h.Signers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		trust, err := h.Trust(t.Context(), Named{})
		if err != nil {
			t.Fatal(err)
		}
		signs := keys.Fingerprint(signers.Images.PublicKey())
		if believed := keys.Fingerprint(trust.Images.Keys[0].Public); believed != signs {
			t.Errorf("signs with %s, believes %s", signs, believed)
		}
		return signs
	}
	first := fingerprint()
	keychain := h.Keychain()
	if fingerprint() != first || h.Keychain() != keychain {
		t.Error("keys that are as they were are opened again")
	}
	for _, name := range []string{"images.key", "images.pub"} {
		if err := os.Remove(filepath.Join(h.Folder, "keys", name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := keys.New(keys.Options{}).Generate(t.Context(), filepath.Join(h.Folder, "keys", "images.key")); err != nil {
		t.Fatal(err)
	}
	if fingerprint() == first {
		t.Error("it signs with a key that is gone")
	}
}
