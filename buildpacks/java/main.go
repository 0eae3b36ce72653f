// Command java is the buildpack plimsoll/java: it takes an executable jar, or Java sources
// without dependencies to fetch, and gives an application for the run base's JVM.
package main

import (
	"fmt"
	"os"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/java/app"
)

func main() { libcnb.Main(detector{}, builder{}) }

type detector struct{}

// Detect passes for a folder with an executable jar or with sources.
func (detector) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	if _, err := app.Find(ctx.Application.Path, os.Getenv); err != nil {
		fmt.Println("java:", err)
		return libcnb.DetectResult{}, nil
	}
	return libcnb.DetectResult{Pass: true}, nil
}
