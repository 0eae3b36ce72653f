// Package home takes the folder that everything of a site lies in and gives what is configured
// there: whose keys sign and whom one believes, its policies and registry, its inventory.
package home

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/facts"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/malware"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Home is an open home. It is safe for concurrent use, as other processes may use the folder too.
type Home struct {
	Folder     string
	Registries *oci.Registries // the home's own registry and the remote ones
	Version    string          // of this program
	Getenv     func(string) string

	warn   func(warning, hint string)
	others func() bool // says that others match; nil is never
	*held
}

// held is what several views of one home share.
type held struct {
	newKeychain func() *keys.Keychain

	contents  *sbom.Scanner
	hardening *hardening.Scanner
	attached  *attest.Memory
	bills     *facts.Bills

	mu          sync.Mutex
	keychain    *keys.Keychain
	keyFiles    map[string]os.FileInfo // as they were when the keychain opened them, or before
	inventories []opened
	unread      map[string]bool // keys of which it was said that they cannot be read
}

// opened is an inventory that is open.
type opened struct {
	*inventory.Inventory
	address string
	file    os.FileInfo // nil of a server's
}

// Options are what New may be told.
type Options struct {
	Version  string                                          // of this program
	Getenv   func(string) string                             // the user's environment; nil is an empty one
	Password func(context.Context, keys.Ask) ([]byte, error) // asks a person; nil where nobody is there

	// Warn hears in a line each of what is wrong and stops nothing, with what helps, which may be
	// "". Both may hold what foreign code said. nil hears nothing.
	Warn func(warning, hint string)
}

// New gives the home in the folder. Nothing is opened until it is needed; Close it.
func New(folder string, registries *oci.Registries, o Options) *Home {
	h := &Home{Folder: folder, Registries: registries, Version: o.Version, Getenv: o.Getenv, warn: o.Warn}
	if h.Getenv == nil {
		h.Getenv = func(string) string { return "" }
	}
	h.held = &held{
		contents:  sbom.New(sbom.Options{Cache: h.Path("cache", "contents")}),
		hardening: hardening.New(h.Path("cache", "hardening")),
		attached:  attest.NewMemory(keepAttached),
		bills:     facts.NewBills(),
		unread:    map[string]bool{},
	}
	h.newKeychain = func() *keys.Keychain {
		return keys.New(keys.Options{Prompt: o.Password, Warn: func(line string) { h.Warn(line, "") }})
	}
	return h
}

// Close closes what was opened.
func (h *Home) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var failed error
	for _, one := range h.inventories {
		failed = errors.Join(failed, one.Close())
	}
	h.inventories = nil
	return failed
}

// Through gives the same home with other ways to its registries.
func (h *Home) Through(registries *oci.Registries) *Home {
	other := *h
	other.Registries = registries
	return &other
}

// Warning gives the same home with another who hears its warnings.
func (h *Home) Warning(warn func(warning, hint string)) *Home {
	other := *h
	other.warn = warn
	return &other
}

// MatchedByOthers gives the same home which, while others says so, leaves the packages that are new in
// the inventory to the process of another home: feeds are synced there, and the advisories here are none,
// or old.
func (h *Home) MatchedByOthers(others func() bool) *Home {
	other := *h
	other.others = others
	return &other
}

// Matches says whether packages are held against the advisories of this home.
func (h *Home) Matches() bool { return h.others == nil || !h.others() }

// Warn tells of what is wrong and stops nothing, and what helps, if there is such.
func (h *Home) Warn(warning, hint string) {
	if h.warn != nil {
		h.warn(warning, hint)
	}
}

// Agent names this program to the servers it asks.
func (h *Home) Agent() string { return "plimsoll/" + h.Version }

// Path gives the path of something in the home.
func (h *Home) Path(names ...string) string {
	return filepath.Join(append([]string{h.Folder}, names...)...)
}

// PolicyFolder is where the policies of the home are.
func (h *Home) PolicyFolder() string { return h.Path("policies") }

// VerdictsFolder is where what is to be decided still is kept.
func (h *Home) VerdictsFolder() string { return h.Path("verdicts") }

// FeedsFile says where advisories come from.
func (h *Home) FeedsFile() string { return h.Path("feeds.yaml") }

// InventoryVariable names the database of the inventory, where it is not the home's own.
const InventoryVariable = "PLIMSOLL_INVENTORY"

// InventoryAddress is where the inventory is, as inventory.Open takes it. It may hold a password.
func (h *Home) InventoryAddress() string {
	return cmp.Or(h.Getenv(InventoryVariable), "sqlite:"+h.Path("inventory.db"))
}

// Inventory gives the index over all images, which stays open until the home is closed. Where its
// file was removed meanwhile, as a user may, it is another one.
func (h *Home) Inventory(ctx context.Context) (*inventory.Inventory, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	address := h.InventoryAddress()
	file := fileOf(address)
	for _, one := range h.inventories {
		if one.address == address && (one.file == nil || file != nil && os.SameFile(one.file, file)) {
			return one.Inventory, nil
		}
	}
	index, err := inventory.Open(ctx, address, inventory.Options{})
	if err != nil {
		return nil, err
	}
	// One whose file is gone stays open, for somebody may be using it still.
	h.inventories = append(h.inventories, opened{index, address, fileOf(address)})
	return index, nil
}

// fileOf describes the file of an inventory's address; nil where there is none.
func fileOf(address string) os.FileInfo {
	path, local := strings.CutPrefix(address, "sqlite:")
	if !local {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

// Keychain gives what opens keys by name, each once, and again when a file of those that sign here, or
// are trusted, is another than it was.
func (h *Home) Keychain() *keys.Keychain {
	files := append(h.TrustFiles(), h.Path("keys", "images.key"), h.Path("keys", "attestations.key"))
	h.mu.Lock()
	defer h.mu.Unlock()
	now := map[string]os.FileInfo{}
	for _, path := range files {
		if info, err := os.Stat(path); err == nil {
			now[path] = info
		}
	}
	for path, was := range h.keyFiles {
		is := now[path]
		if is == nil || !os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) || was.Size() != is.Size() {
			h.keychain = nil
		}
	}
	if h.keychain == nil {
		h.keychain = h.newKeychain()
	}
	h.keyFiles = now
	return h.keychain
}

// clamdVariable says where a ClamAV daemon answers; without it nobody looks for malware.
const clamdVariable = "PLIMSOLL_CLAMD"

// Malware gives who looks for malware here; nil where nobody does.
func (h *Home) Malware() (*malware.Scanner, error) {
	address := h.Getenv(clamdVariable)
	if address == "" {
		return nil, nil
	}
	clamd, err := malware.NewClamd(address)
	if err != nil {
		return nil, err
	}
	return malware.New(clamd, h.Path("cache", "malware"), malware.Options{AllowUnscanned: true}), nil
}

// Hardening gives the scanner of this home, which keeps what it found.
func (h *Home) Hardening() *hardening.Scanner { return h.hardening }

// Contents gives the scanner of this home, which keeps what it found.
func (h *Home) Contents() *sbom.Scanner { return h.contents }

// keepAttached is how much is remembered of what is attached to images, in bytes: what was issued is
// read soon. An image with 300 packages has half a megabyte, and two fleets have about a hundred under way.
const keepAttached = 64 << 20

// Attached remembers what is attached to images, as this process issued or read it.
func (h *Home) Attached() *attest.Memory { return h.attached }

// Bills remembers what bills of materials name, as this process made or read them.
func (h *Home) Bills() *facts.Bills { return h.bills }

// Tell tells the inventory something. It is only an index: when that fails, what was done stands,
// and that is said.
func (h *Home) Tell(ctx context.Context, do func(*inventory.Inventory) error) {
	index, err := h.Inventory(ctx)
	if err == nil {
		err = do(index)
	}
	if err != nil {
		h.Warn("the inventory was not told: "+err.Error(), cmp.Or(fault.HintOf(err), "run `plimsoll inventory rebuild` when that is mended"))
	}
}
