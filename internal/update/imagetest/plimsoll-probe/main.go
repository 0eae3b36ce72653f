// Command plimsoll-probe asks an image's own program something, inside of the sandbox.
package main

import (
	"os"

	"plimsoll.dev/plimsoll/internal/update/imagetest/probe"
)

func main() { os.Exit(probe.Main(os.Args[1:])) }
