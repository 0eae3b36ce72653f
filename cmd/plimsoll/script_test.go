package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"plimsoll": main})
}

// TestScripts runs what a user types and compares what a user sees. A script finds a
// signed archive at $ARCHIVE, its keyring at $KEYRING, a home of its own, and these
// commands:
//
//	exits CODE COMMAND  runs the command, which must end with the exit code
//	expand FILE...      replaces ${NAME} in the files by the environment
//	launch REF BASE     puts an app image on a base, as buildpacks would make it
//	publish VERSION     updates the archive: package lib is now of that version
//	tamper PATTERN      changes a byte of each file of the archive that matches
func TestScripts(t *testing.T) {
	key, err := debarchive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			a, err := debarchive.Write(filepath.Join(env.WorkDir, "archive"), key, suite("1"))
			if err != nil {
				return err
			}
			env.Setenv("ARCHIVE", a.Root)
			env.Setenv("KEYRING", a.Keyring)
			env.Setenv("PLIMSOLL_HOME", filepath.Join(env.WorkDir, "home"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				var failed *exec.ExitError
				err := ts.Exec(args[1], args[2:]...)
				if got := 0; !errors.As(err, &failed) || strconv.Itoa(failed.ExitCode()) != args[0] {
					if failed != nil {
						got = failed.ExitCode()
					}
					ts.Fatalf("want exit code %s, got %d (%v)", args[0], got, err)
				}
			},
			"expand": func(ts *testscript.TestScript, _ bool, files []string) {
				for _, file := range files {
					path := ts.MkAbs(file)
					ts.Check(os.WriteFile(path, []byte(os.Expand(ts.ReadFile(file), ts.Getenv)), 0o644))
				}
			},
			"launch": launch,
			"publish": func(ts *testscript.TestScript, _ bool, args []string) {
				_, err := debarchive.Write(filepath.Dir(ts.Getenv("ARCHIVE")), key, suite(args[0]))
				ts.Check(err)
			},
			"tamper": func(ts *testscript.TestScript, _ bool, args []string) {
				found, err := filepath.Glob(filepath.Join(ts.Getenv("ARCHIVE"), args[0]))
				ts.Check(err)
				if len(found) == 0 {
					ts.Fatalf("no file matches %s", args[0])
				}
				for _, path := range found {
					text, err := os.ReadFile(path)
					ts.Check(err)
					ts.Check(os.WriteFile(path, debarchive.Flip(text), 0o644))
				}
			},
		},
	})
}

// suite is a system, an app, and the library it needs.
func suite(version string) debarchive.Suite {
	return debarchive.Suite{Name: "test", Architectures: []string{"amd64", "arm64"}, Packages: []debarchive.Package{
		{Name: "base-files", Version: "13", Files: []debarchive.File{
			debarchive.Symlink("bin", "usr/bin"), debarchive.Dir("usr/bin", 0),
			debarchive.Regular("usr/lib/os-release", "ID=debian\nVERSION_ID=13\n"), debarchive.Symlink("etc/os-release", "../usr/lib/os-release"),
		}},
		{Name: "app", Fields: map[string]string{"Depends": "lib"}, Files: []debarchive.File{debarchive.Regular("usr/bin/app", "app")}},
		{Name: "lib", Version: version, Files: []debarchive.File{debarchive.Regular("usr/lib/lib.so", "lib "+version)}},
		{Name: "scripted", Scripts: map[string]string{"postinst": "#!/bin/sh\nset -e\nmystery-tool --register /usr/lib/x\n"}},
		{Name: "needy", Fields: map[string]string{"Depends": "absent-thing (>= 2)"}},
	}}
}
