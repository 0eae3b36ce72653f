package command

import (
	"fmt"
	"path/filepath"

	"github.com/buildpacks/libcnb"
	"mvdan.cc/sh/v3/syntax"

	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
	"plimsoll.dev/plimsoll/buildpacks/internal/self"
)

// Process gives the process of that type that runs the command. What it needs goes into the
// launch layer, whose folder is there: its environment, or, where the command has variables,
// a program that replaces them and then becomes the command's own. Where a command names
// PORT and the container says none, it is 8080, as for the processes of other buildpacks.
func (c Command) Process(kind string, launch libcnb.Layer) (libcnb.Process, error) {
	process := libcnb.Process{Type: kind, Direct: true}
	if !c.Expands() {
		for _, v := range c.Env {
			launch.LaunchEnvironment.ProcessOverride(kind, v.Name, v.Value)
		}
		process.Command, process.Arguments = c.Args[0], c.Args[1:]
		return process, nil
	}
	if arch := self.Foreign(); arch != "" {
		return process, fmt.Errorf("%q has variables, which a program of this machine's kind would have to replace, and the image is for %s: build it on such a machine, or write the values", c, arch)
	}
	call, err := parse(c.String())
	if err != nil {
		return process, err
	}
	for _, variable := range variables(&syntax.Stmt{Cmd: call}) {
		if variable.Param.Value == "PORT" && variable.Exp == nil {
			launch.LaunchEnvironment.ProcessDefault(kind, "PORT", "8080")
		}
	}
	process.Command, process.Arguments = filepath.Join(launch.Path, AtLaunch), []string{c.String()}
	packages, err := self.Copy(process.Command)
	if err != nil {
		return process, err
	}
	return process, sbom.Write(launch.SBOMPath(libcnb.CycloneDXJSON), packages)
}
