// Command go is the buildpack plimsoll/go: it takes a Go module and gives a layer with its
// compiled programs.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/buildpacks/libcnb"
)

func main() { libcnb.Main(detector{}, builder{}) }

type detector struct{}

// Detect passes for a folder with a go.mod or a go.work.
func (detector) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	if definition(ctx.Application.Path) == "" {
		fmt.Println("go: no go.mod or go.work")
		return libcnb.DetectResult{}, nil
	}
	return libcnb.DetectResult{Pass: true}, nil
}

// definition gives the name of the file that says which toolchain the build wants: go.work,
// where there is one, else go.mod; "" when there is neither.
func definition(dir string) string {
	for _, name := range []string{"go.work", "go.mod"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return name
		}
	}
	return ""
}
