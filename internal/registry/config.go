package registry

import (
	"os"
	"regexp"

	"github.com/distribution/distribution/v3/configuration"
	// The drivers register themselves by name.
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"

	"plimsoll.dev/plimsoll/internal/fault"
)

const (
	filesystemDriver = "filesystem"
	maxListed        = 1000 // entries of a catalog or tag page
)

// configure gives the distribution project's configuration for o and the local folder
// of the store, "" when the storage is not the local filesystem.
func configure(o Options) (*configuration.Configuration, string, error) {
	config := &configuration.Configuration{Version: configuration.CurrentVersion}
	config.Storage = configuration.Storage{filesystemDriver: configuration.Parameters{"rootdirectory": o.Root}}
	if o.Config != "" {
		given, err := readConfig(o.Config)
		if err != nil {
			return nil, "", err
		}
		config.Storage = given.Storage
		// Servers that share a secret take over each other's uploads. Without one each
		// makes its own.
		config.HTTP.Secret = given.HTTP.Secret
	}
	root := ""
	if config.Storage.Type() == filesystemDriver {
		root, _ = config.Storage.Parameters()["rootdirectory"].(string)
		if root == "" {
			return nil, "", fault.Newf(fault.Usage, "open registry", o.Config, "no folder given").
				WithHint("name the folder of the store")
		}
	}
	// A descriptor cache would go stale: other processes and the collector change the
	// store. Uploads are purged by Collect, and redirects would send a client without a
	// server to hosts it cannot reach through Transport.
	delete(config.Storage, "cache")
	config.Storage["delete"] = configuration.Parameters{"enabled": true}
	config.Storage["redirect"] = configuration.Parameters{"disable": true}
	config.Storage["maintenance"] = configuration.Parameters{
		"uploadpurging": map[any]any{"enabled": false},
		"readonly":      map[any]any{"enabled": o.ReadOnly},
	}
	config.Catalog.MaxEntries = maxListed
	config.Tags.MaxTags = maxListed
	// Relative locations hold behind any proxy, and spare us trusting forwarded headers.
	config.HTTP.RelativeURLs = true
	config.Validation.Enabled = true
	config.Validation.Manifests.URLs.Allow = []string{"^https?://"}
	config.Validation.Manifests.Indexes.Platforms = "all"
	return config, root, nil
}

var quotedValue = regexp.MustCompile("(!!\\w+ )?`[^`]*`")

func readConfig(path string) (*configuration.Configuration, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Usage, "read registry configuration", path, err)
	}
	defer f.Close()
	parsed, err := configuration.Parse(f)
	if err != nil {
		// The parser quotes the value it stumbles over, which may be a secret.
		why := quotedValue.ReplaceAllString(err.Error(), "a value")
		return nil, fault.Newf(fault.Usage, "read registry configuration", path, why).
			WithHint("the file needs `version: 0.1` and a `storage:` section with one driver")
	}
	return parsed, nil
}
