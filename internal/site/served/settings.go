package served

import (
	"errors"
	"io/fs"
	"log/slog"

	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/registry/settings"
	"plimsoll.dev/plimsoll/internal/site/home"
)

// Settings opens registry.yaml of the home, which need not be there.
func Settings(h *home.Home, log *slog.Logger) (*settings.File, error) {
	return settings.Open(SettingsFile(h), log, Checks()...)
}

// SettingsFile says who may do what in the home's registry, and what stays there.
func SettingsFile(h *home.Home) string { return h.Path("registry.yaml") }

// Checks are those of all that registry.yaml tells something.
func Checks() []settings.Check {
	return append([]settings.Check{access.Check, mirror.Check}, upkeepChecks()...)
}

// AuditKey gives a key's name as seen from here: paths are relative to registry.yaml.
func AuditKey(said *settings.Settings, name string) string { return home.KeyAt(said.Folder, name) }

// SettingsNow reads registry.yaml once, for a command; nil where there is none.
func SettingsNow(h *home.Home) (*settings.Settings, error) {
	s, err := settings.Read(SettingsFile(h), Checks()...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return s, err
}
