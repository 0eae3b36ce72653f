// Command nodejs is the buildpack plimsoll/nodejs: it takes a folder with a package.json
// and gives a layer with its production dependencies and the process that starts it.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/command"
)

func main() {
	command.Launch()
	libcnb.Main(detector{}, builder{})
}

type detector struct{}

// Detect passes for a folder with a package.json.
func (detector) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	info, err := os.Stat(filepath.Join(ctx.Application.Path, "package.json"))
	if err != nil || !info.Mode().IsRegular() {
		fmt.Println("nodejs: no package.json")
		return libcnb.DetectResult{}, nil
	}
	return libcnb.DetectResult{Pass: true}, nil
}
