package login

import (
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Store keeps the token for a registry's host where docker, and all that reads its
// configuration, looks: in the credential helper that is set up for it, else in the file. The
// user's name is only shown, but skopeo and podman pass over an entry without one.
func Store(host, user, token string) error {
	file, err := config.Load(config.Dir())
	if err != nil {
		return fault.New(fault.Failed, "read docker configuration", config.Dir(), err)
	}
	if err := file.GetCredentialsStore(host).Store(types.AuthConfig{ServerAddress: host, Username: user, IdentityToken: token}); err != nil {
		return fault.New(fault.Failed, "store login", host, err).WithHint("check the credential helper in " + file.Filename)
	}
	return nil
}

// Forget removes what Store kept.
func Forget(host string) error {
	file, err := config.Load(config.Dir())
	if err != nil {
		return fault.New(fault.Failed, "read docker configuration", config.Dir(), err)
	}
	if err := file.GetCredentialsStore(host).Erase(host); err != nil {
		return fault.New(fault.Failed, "forget login", host, err).WithHint("check the credential helper in " + file.Filename)
	}
	return nil
}
