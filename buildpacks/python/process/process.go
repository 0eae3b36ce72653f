// Package process takes a Python application and gives the command that starts it.
package process

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/python/project"
)

// The settings.
const (
	EnvModule = "BP_PYTHON_MODULE" // a module to run: python3 -m MODULE
	EnvWSGI   = "BP_PYTHON_WSGI"   // what gunicorn serves: MODULE:CALLABLE
)

// App is an application to be started.
type App struct {
	Folder       string   // where it is
	Requirements []string // normalized names of what was asked to be installed
	Project      project.Project
	Getenv       func(name string) string
}

// Command gives the first that applies of: the module that BP_PYTHON_MODULE names; what
// gunicorn serves, when that is required; the console script of the project, if it has one
// or one of its own name; app.py, main.py, server.py, __main__.py. It is nil when none does.
func (a App) Command() ([]string, error) {
	if module := a.Getenv(EnvModule); module != "" {
		if !dotted.MatchString(module) {
			return nil, fmt.Errorf("%s %q is not the name of a module", EnvModule, module)
		}
		return []string{"python3", "-m", module}, nil
	}
	served, err := a.served()
	if err != nil {
		return nil, err
	}
	if served != "" {
		return []string{"gunicorn", "--access-logfile=-", served}, nil
	}
	if script := a.script(); script != "" {
		return []string{script}, nil
	}
	for _, name := range []string{"app.py", "main.py", "server.py", "__main__.py"} {
		if a.has(name) {
			return []string{"python3", name}, nil
		}
	}
	return nil, nil
}

var (
	dotted  = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$`)
	wsgi    = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_][\w.()]*)?$`)
	defines = regexp.MustCompile(`(?m)^(?:def\s+)?(application|app)\s*(?:=[^=]|\(|:)`)
)

// served gives what gunicorn serves, or "" when it is not asked for or nothing is found.
func (a App) served() (string, error) {
	required := slices.Contains(a.Requirements, "gunicorn")
	if named := a.Getenv(EnvWSGI); named != "" {
		switch {
		case !wsgi.MatchString(named):
			return "", fmt.Errorf("%s %q is not of the form MODULE:CALLABLE", EnvWSGI, named)
		case !required:
			return "", fmt.Errorf("%s is set, but gunicorn is not among the requirements", EnvWSGI)
		}
		return named, nil
	}
	if !required {
		return "", nil
	}
	candidates := []string{"wsgi.py", "app.py", "main.py"}
	if a.has("manage.py") { // Django has it beside the settings
		found, err := filepath.Glob(filepath.Join(a.Folder, "*", "wsgi.py"))
		if err != nil {
			return "", err
		}
		for _, file := range found {
			candidates = append(candidates, path.Join(filepath.Base(filepath.Dir(file)), "wsgi.py"))
		}
	}
	for _, file := range candidates {
		text, err := os.ReadFile(filepath.Join(a.Folder, file))
		if err != nil {
			continue
		}
		module := strings.ReplaceAll(strings.TrimSuffix(file, ".py"), "/", ".")
		if found := defines.FindSubmatch(text); found != nil && dotted.MatchString(module) {
			return module + ":" + string(found[1]), nil
		}
	}
	return "", nil
}

// script gives the project's console script, when it is clear which one.
func (a App) script() string {
	switch scripts := a.Project.Scripts; {
	case !a.Project.Installable:
		return ""
	case len(scripts) == 1:
		return scripts[0]
	case slices.Contains(scripts, a.Project.Name):
		return a.Project.Name
	}
	return ""
}

func (a App) has(name string) bool {
	info, err := os.Stat(filepath.Join(a.Folder, name))
	return err == nil && info.Mode().IsRegular()
}
