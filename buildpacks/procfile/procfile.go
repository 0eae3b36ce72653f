package main

import (
	"fmt"
	"regexp"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/internal/command"
)

// process is one line of a Procfile.
type process struct {
	name    string
	command command.Command
}

// line has the form that Heroku gave it: the name of a process type and a command.
var line = regexp.MustCompile(`^([A-Za-z0-9._-]+):\s*(\S.*)$`)

// parse reads a Procfile. Empty lines and those that begin with # mean nothing.
func parse(text string) ([]process, error) {
	var processes []process
	seen := map[string]bool{}
	n := 0
	for raw := range strings.Lines(text) {
		n++
		raw = strings.TrimSpace(raw)
		if raw == "" || strings.HasPrefix(raw, "#") {
			continue
		}
		match := line.FindStringSubmatch(raw)
		if match == nil {
			return nil, fmt.Errorf("line %d: %q is not NAME: COMMAND", n, raw)
		}
		name := match[1]
		if seen[name] {
			return nil, fmt.Errorf("line %d: process %s is there twice", n, name)
		}
		seen[name] = true
		c, err := command.Parse(match[2])
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", n, name, err)
		}
		processes = append(processes, process{name, c})
	}
	return processes, nil
}
