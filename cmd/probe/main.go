// Command probe asks an image's own program over HTTP, in the sandbox where a campaign tests it. It
// needs no libraries: images may have none.
package main

import (
	"os"

	"plimsoll.dev/plimsoll/internal/update/imagetest/probe"
)

func main() { os.Exit(probe.Main(os.Args[1:])) }
