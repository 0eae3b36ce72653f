// Command procfile is the buildpack plimsoll/procfile: it takes a Procfile and gives the
// image's processes, in addition to those of the buildpacks before it or instead of them.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/command"
	"plimsoll.dev/plimsoll/buildpacks/internal/layer"
)

func main() {
	command.Launch()
	libcnb.Main(detector{}, builder{})
}

// planned is what the build plan carries the Procfile's text under: a buildpack before this
// one may remove the file.
const planned = "procfile"

type detector struct{}

// Detect passes for a folder with a Procfile.
func (detector) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	text, err := os.ReadFile(filepath.Join(ctx.Application.Path, "Procfile"))
	if errors.Is(err, os.ErrNotExist) {
		fmt.Println("procfile: no Procfile")
		return libcnb.DetectResult{}, nil
	}
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	return libcnb.DetectResult{Pass: true, Plans: []libcnb.BuildPlan{{
		Provides: []libcnb.BuildPlanProvide{{Name: planned}},
		Requires: []libcnb.BuildPlanRequire{{Name: planned, Metadata: map[string]any{"text": string(text)}}},
	}}}, nil
}

type builder struct{}

// Build declares the processes. The one named web, or the only one, is the default.
func (builder) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	processes, err := parse(text(ctx.Plan))
	if err != nil {
		return result, fmt.Errorf("procfile: %w", err)
	}
	env, err := layer.Open(ctx.Layers, "environment", libcnb.LayerTypes{Launch: true})
	if err != nil {
		return result, err
	}
	if err := layer.Empty(env); err != nil {
		return result, err
	}
	for _, p := range processes {
		if why := doubt(p.command.Args[0], ctx.Application.Path, alone(ctx.Layers.Path)); why != "" {
			fmt.Printf("procfile: note: %s: %s\n", p.name, why)
		}
		process, err := p.command.Process(p.name, env)
		if err != nil {
			return result, fmt.Errorf("procfile: %s: %w", p.name, err)
		}
		process.Default = p.name == "web" || len(processes) == 1
		result.Processes = append(result.Processes, process)
	}
	if slices.ContainsFunc(processes, func(p process) bool { return p.command.Env != nil || p.command.Expands() }) {
		result.Layers = append(result.Layers, layer.Filled(env))
	}
	return result, nil
}

// alone tells whether no buildpack before this one has made anything: each has a folder
// beside this one's layers.
func alone(layers string) bool {
	made, err := filepath.Glob(filepath.Join(filepath.Dir(layers), "*", "*.toml"))
	return err == nil && !slices.ContainsFunc(made, func(path string) bool { return filepath.Dir(path) != layers })
}

// doubt gives the reason why a program may not start, or "". It is no error: a link in the
// source may lead to a layer that is not at hand, and only the run image knows its programs.
func doubt(program, app string, alone bool) string {
	switch {
	case filepath.IsAbs(program):
		return ""
	case strings.Contains(program, "/"):
		if _, err := os.Stat(filepath.Join(app, program)); err == nil {
			return ""
		}
		return fmt.Sprintf("%s is not in the application's folder, so the process will not start, unless it is there at run time", program)
	case alone:
		return fmt.Sprintf("no other buildpack takes part, so nothing is built: %s must be a program of the run image (one of the source is ./%[1]s)", program)
	}
	return ""
}

func text(plan libcnb.BuildpackPlan) string {
	for _, entry := range plan.Entries {
		if text, ok := entry.Metadata["text"].(string); ok && entry.Name == planned {
			return text
		}
	}
	return ""
}
