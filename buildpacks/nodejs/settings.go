package main

import (
	"cmp"
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
	var err1, err2 error
	s.ignoreScripts, err1 = truth("BP_NPM_IGNORE_SCRIPTS")
	s.unlocked, err2 = truth("BP_NPM_UNLOCKED")
	return s, cmp.Or(err1, err2)
}

// truth reads a variable that says yes or no; one that is not there says no.
func truth(name string) (bool, error) {
	switch value := os.Getenv(name); value {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	default:
		return false, fmt.Errorf("%s is %q: say true or false", name, value)
	}
}
