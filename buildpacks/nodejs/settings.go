package main

import (
	"fmt"
	"os"
	"runtime"
)

// settings is what the user asks of a build.
type settings struct {
	ignoreScripts bool   // BP_NPM_IGNORE_SCRIPTS
	unlocked      bool   // BP_NPM_UNLOCKED
	arch          string // that the image is for
}

func readSettings() (settings, error) {
	s := settings{arch: os.Getenv("CNB_TARGET_ARCH")}
	if s.arch == "" { // a platform that only builds for the machine it runs on
		s.arch = runtime.GOARCH
	}
	for name, value := range map[string]*bool{"BP_NPM_IGNORE_SCRIPTS": &s.ignoreScripts, "BP_NPM_UNLOCKED": &s.unlocked} {
		switch text := os.Getenv(name); text {
		case "", "0", "false":
		case "1", "true":
			*value = true
		default:
			return settings{}, fmt.Errorf("%s is %q: say true or false", name, text)
		}
	}
	return s, nil
}
