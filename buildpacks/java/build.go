package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/layer"
	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
	"plimsoll.dev/plimsoll/buildpacks/internal/tree"
	"plimsoll.dev/plimsoll/buildpacks/java/app"
	"plimsoll.dev/plimsoll/buildpacks/java/jar"
)

type builder struct{}

// Build leaves of the application what runs and what BP_KEEP_FILES names.
func (builder) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	b := build{ctx: ctx, folder: ctx.Application.Path, result: &result}
	if err := b.run(); err != nil {
		return result, fmt.Errorf("java: %w", err)
	}
	return result, nil
}

// build is one build on its way.
type build struct {
	ctx    libcnb.BuildContext
	folder string // the application's
	result *libcnb.BuildResult
}

func (b *build) run() error {
	found, err := app.Find(b.folder, os.Getenv)
	if err != nil {
		return err
	}
	start, keep := []string{"-jar", filepath.Join(b.folder, found.Jar)}, []string{found.Jar}
	if found.Jar == "" {
		if start, err = b.compile(found); err != nil {
			return err
		}
		keep = []string{"lib"}
	}
	// A folder that has the jar at its top was made ready by its owner.
	if found.Jar == "" || filepath.Dir(found.Jar) != "." {
		if err := tree.Keep(b.folder, append(append(keep, "Procfile"), patterns(os.Getenv("BP_KEEP_FILES"))...)); err != nil {
			return fmt.Errorf("BP_KEEP_FILES: %w", err)
		}
	}
	if err := b.account(found); err != nil {
		return err
	}
	if err := b.machine(); err != nil {
		return err
	}
	fmt.Println("java: starts with java", strings.Join(start, " "))
	b.result.Processes = append(b.result.Processes, libcnb.Process{
		Type: "web", Command: "java", Arguments: start, Direct: true, Default: true,
	})
	return nil
}

// patterns gives the items of a value that are apart by spaces, commas or colons.
func patterns(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" \t\n,:", r) })
}

// account lists the jars that stay in the application's folder.
func (b *build) account(found app.App) error {
	var packages []sbom.Package
	for _, name := range slices.Concat([]string{found.Jar}, found.Libraries) {
		if name == "" {
			continue
		}
		read, err := jar.Read(filepath.Join(b.folder, name))
		if err != nil {
			return err
		}
		read.Packages[0].Main = name == found.Jar
		packages = append(packages, read.Packages...)
	}
	if packages == nil {
		return nil
	}
	return sbom.Write(b.ctx.Layers.LaunchSBOMPath(libcnb.CycloneDXJSON), packages)
}

// options of the JVM in a container: most of the memory that it is given, instead of a
// quarter; an end that is seen, when that is not enough; no files for tools that are not
// there. Those that the image is started with come later, and so prevail.
const options = "-XX:MaxRAMPercentage=75 -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData"

// machine makes the layer with the JVM's options.
func (b *build) machine() error {
	jvm, err := layer.Open(b.ctx.Layers, "jvm", libcnb.LayerTypes{Launch: true})
	if err != nil {
		return err
	}
	if err := layer.Empty(jvm); err != nil {
		return err
	}
	jvm.LaunchEnvironment.Prepend("JAVA_TOOL_OPTIONS", " ", options)
	b.result.Layers = append(b.result.Layers, layer.Filled(jvm))
	// The JVM itself is the run base's, which has its own account.
	return sbom.Write(jvm.SBOMPath(libcnb.CycloneDXJSON), nil)
}
