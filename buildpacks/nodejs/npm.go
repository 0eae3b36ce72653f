package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/binding"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
)

// npmEnvironment gives what npm is run with: its files in the scratch folder, the npmrc of
// a binding, and nothing that waits for people.
func npmEnvironment(app, scratch string, bindings libcnb.Bindings) ([]string, error) {
	env := []string{
		"HOME=" + scratch, "npm_config_cache=" + filepath.Join(scratch, "cache"),
		"npm_config_audit=false", "npm_config_fund=false", "npm_config_progress=false", "npm_config_update_notifier=false",
		"npm_config_logs_max=0", // the scratch folder is gone before anyone could read them
		// npm tries three times, and would wait for more than a minute where there is no network.
		"npm_config_fetch_retry_mintimeout=1000", "npm_config_fetch_retry_maxtimeout=5000",
	}
	if _, err := os.Stat("/usr/include/node/node.h"); err == nil { // node-gyp downloads them otherwise
		env = append(env, "npm_config_nodedir=/usr")
	}
	user, err := binding.File(bindings, "npmrc", ".npmrc")
	if err != nil {
		return nil, err
	}
	if user != "" {
		env = append(env, "npm_config_userconfig="+user)
	}
	for _, path := range []string{filepath.Join(app, ".npmrc"), user} {
		names, err := namesRegistry(path)
		if err != nil {
			return nil, err
		}
		if names { // npm would prefer the platform's, but takes no empty variable
			env = append(env, "NPM_CONFIG_REGISTRY=", "npm_config_registry=")
			break
		}
	}
	return env, nil
}

var registry = regexp.MustCompile(`(?m)^[ \t]*registry[ \t]*=`)

// namesRegistry tells whether the npmrc file, which need not be there, says where packages
// without a scope are.
func namesRegistry(path string) (bool, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read npm's settings: %w", err)
	}
	return registry.Match(bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))), nil
}

// callNPM runs npm in the application's folder.
func (b *build) callNPM(args ...string) error {
	return tool.Command{Path: "npm", Args: args, Dir: b.dir, Env: b.env}.Run()
}
