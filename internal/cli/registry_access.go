package cli

import (
	"log/slog"
	"path/filepath"

	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// registrySettings opens registry.yaml of the home, which need not be there.
func (env *Env) registrySettings(log *slog.Logger) (*settings.File, error) {
	return settings.Open(env.registryFile(), log, registryChecks()...)
}

func (env *Env) registryFile() string { return filepath.Join(env.Home, "registry.yaml") }

// registryChecks are those of all that registry.yaml tells something.
func registryChecks() []settings.Check {
	return append([]settings.Check{access.Check, mirror.Check}, upkeepChecks()...)
}

// access opens who may do what in this home's registry.
func (env *Env) access(said *settings.File, htpasswd string, log *slog.Logger) (*access.Access, error) {
	return access.Open(env.Home, access.Options{Settings: said, Htpasswd: htpasswd, Logger: log})
}
