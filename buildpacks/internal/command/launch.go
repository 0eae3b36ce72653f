package command

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/expand"
)

// AtLaunch is the name under which a buildpack's program is in the image when a process has
// variables. Its main must call Launch first.
const AtLaunch = "expand"

// Exit statuses of a shell that cannot start a program (POSIX, "Exit Status for Commands").
const (
	notFound      = 127
	notExecutable = 126
)

// Launch does nothing in a buildpack. In an image it replaces the variables in the line that
// is its first argument, as a shell does, and becomes the program that the line names. Other
// arguments follow the line's own as they are.
func Launch() {
	if filepath.Base(os.Args[0]) != AtLaunch {
		return
	}
	status, err := launch(os.Args[1:], os.Environ())
	fmt.Fprintf(os.Stderr, "%s: %v\n", AtLaunch, err)
	os.Exit(status)
}

// launch returns only when it fails: with the status to exit with, and why.
func launch(arguments, environment []string) (int, error) {
	if len(arguments) == 0 {
		return notExecutable, errors.New("no command is given")
	}
	args, env, err := expanded(arguments[0], environment)
	if err != nil {
		return notExecutable, err
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return notFound, fmt.Errorf("start the process: %w", err)
	}
	err = syscall.Exec(path, append(args, arguments[1:]...), env)
	return notExecutable, fmt.Errorf("start %s: %w", path, err)
}

// expanded gives the program's arguments and environment.
func expanded(line string, environment []string) (args, env []string, err error) {
	call, err := parse(line)
	if err != nil {
		return nil, nil, err
	}
	values := &expand.Config{Env: expand.ListEnviron(environment...)}
	if args, err = expand.Fields(values, call.Args...); err != nil {
		return nil, nil, err
	}
	if len(args) == 0 {
		return nil, nil, fmt.Errorf("%q names no program", line)
	}
	env = slices.Clone(environment)
	for _, assign := range call.Assigns {
		value := ""
		if assign.Value != nil {
			if value, err = expand.Literal(values, assign.Value); err != nil {
				return nil, nil, err
			}
		}
		name := assign.Name.Value + "="
		env = slices.DeleteFunc(env, func(other string) bool { return strings.HasPrefix(other, name) })
		env = append(env, name+value)
	}
	return args, env, nil
}
