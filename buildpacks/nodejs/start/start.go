// Package start takes a package.json and gives the process that starts the application,
// without the npm and the shell that `npm start` would need.
package start

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/internal/command"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
)

// Process is how the application starts.
type Process struct {
	command.Command
	From string // where it was found, for the user: `the script "start"`
}

// App is what the rule asks about the application.
type App struct {
	Package manifest.Package
	// Exists tells whether the application has the file, after it was built.
	Exists func(name string) bool
	// Script gives the JavaScript file behind a program of the dependencies, such as
	// "node_modules/next/dist/bin/next" for "next".
	Script func(program string) (string, bool)
}

// Find gives the process: the script named start, else the file in the field main, else
// server.js or index.js. Where there is none but a site was built, the error says how to
// serve that.
func Find(app App) (Process, error) {
	process, err := app.find()
	if err == nil {
		return process, nil
	}
	for _, folder := range []string{"dist", "build", "out"} {
		if app.Exists(path.Join(folder, "index.html")) {
			return process, fmt.Errorf("there is a static site in %s and no server for it: build the site first (npm run build), then the image by `plimsoll build %[1]s --buildpack plimsoll/static-web`", folder)
		}
	}
	return process, err
}

func (app App) find() (Process, error) {
	if app.Package.Scripts["start"] != "" {
		c, err := app.script("start", nil, 0)
		return Process{c, `the script "start"`}, err
	}
	for _, file := range []string{app.Package.Main, "server.js", "index.js"} {
		for _, name := range []string{file, file + ".js", path.Join(file, "index.js")} {
			if file != "" && path.Ext(name) != "" && app.Exists(name) {
				return Process{command.Command{Args: []string{"node", name}}, name}, nil
			}
		}
	}
	return Process{}, errors.New(`package.json has no script "start" and no file in "main", and there is no server.js or index.js: nothing says how to start the application`)
}

// deepest bounds scripts that call each other.
const deepest = 8

// script gives what the script runs, with more arguments behind it.
func (app App) script(name string, more []string, depth int) (command.Command, error) {
	line := strings.TrimSpace(app.Package.Scripts[name])
	if line == "" {
		return command.Command{}, fmt.Errorf("package.json has no script %q", name)
	}
	if depth == deepest {
		return command.Command{}, fmt.Errorf("the scripts of package.json call each other without end: %q", name)
	}
	c, err := command.Parse(line)
	if err != nil {
		return c, fmt.Errorf(`script %q: %w: let it be one program (the rest may go into the script "build"), or add a Procfile`, name, err)
	}
	if own := npmOwn.FindStringSubmatch(line); own != nil && c.Expands() {
		return c, fmt.Errorf(`script %q: %q: only npm sets %s, and the run image has none: write the value`, name, line, own[1])
	}
	c.Args = append(c.Args, more...)
	return app.direct(c, depth)
}

var npmOwn = regexp.MustCompile(`\$\{?(npm_\w+)`)

// direct gives the program that runs in the end.
func (app App) direct(c command.Command, depth int) (command.Command, error) {
	args := c.Args
	switch program := args[0]; program {
	case "node", "/usr/bin/node":
		c.Args[0] = "node"
		return c, nil
	case "cross-env":
		args = args[1:]
		for len(args) > 0 {
			variable, ok := command.Assignment(args[0])
			if !ok {
				break
			}
			c.Env, args = append(c.Env, variable), args[1:]
		}
		if len(args) == 0 {
			return c, fmt.Errorf("%q names no program", c)
		}
		c.Args = args
		return app.direct(c, depth)
	case "npm", "yarn", "pnpm":
		name, more, err := called(program, args[1:])
		if err != nil {
			return c, err
		}
		inner, err := app.script(name, more, depth+1)
		inner.Env = append(c.Env, inner.Env...)
		return inner, err
	case "npx":
		if len(args) < 2 || strings.HasPrefix(args[1], "-") {
			return c, fmt.Errorf("%q: only `npx PROGRAM` can be started", c)
		}
		args = args[1:]
	}
	program := strings.TrimPrefix(args[0], "./node_modules/.bin/")
	program = strings.TrimPrefix(program, "node_modules/.bin/")
	if script, ok := app.Script(program); ok {
		c.Args = append([]string{"node", script}, args[1:]...)
		return c, nil
	}
	if strings.Contains(program, "/") && app.Exists(program) {
		c.Args = args
		if strings.HasSuffix(program, "js") { // .js, .mjs, .cjs
			c.Args = append([]string{"node"}, args...)
		}
		return c, nil
	}
	return c, fmt.Errorf("%q is no program of the dependencies, and the run image has none of that name: start with `node FILE`, or move the package that brings it from devDependencies to dependencies", program)
}

// called gives the script that a package manager's command runs, and its arguments.
func called(manager string, args []string) (string, []string, error) {
	switch {
	case len(args) > 0 && args[0] == "start", len(args) > 0 && manager != "npm" && args[0] != "run" && !strings.HasPrefix(args[0], "-"):
	case len(args) > 1 && (args[0] == "run" || args[0] == "run-script") && !strings.HasPrefix(args[1], "-"):
		args = args[1:]
	default:
		return "", nil, fmt.Errorf("%q: only `%s run SCRIPT` can be started", strings.Join(append([]string{manager}, args...), " "), manager)
	}
	more := args[1:]
	if len(more) > 0 && more[0] == "--" {
		more = more[1:]
	}
	return args[0], more, nil
}
