// Command static-web is the buildpack plimsoll/static-web: it takes a folder with an
// index.html and gives the configuration with which the run base's lighttpd serves it.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/layer"
	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
	"plimsoll.dev/plimsoll/buildpacks/internal/tree"
	"plimsoll.dev/plimsoll/buildpacks/static-web/site"
)

func main() { libcnb.Main(detector{}, builder{}) }

type detector struct{}

// Detect passes for a folder with an index.html where sites have it.
func (detector) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	if _, err := site.Root(ctx.Application.Path, os.LookupEnv); err != nil {
		fmt.Println("static-web:", err)
		return libcnb.DetectResult{}, nil
	}
	return libcnb.DetectResult{Pass: true}, nil
}

type builder struct{}

// Build leaves of the application what is served.
func (builder) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	if err := build(ctx, &result); err != nil {
		return result, fmt.Errorf("static-web: %w", err)
	}
	return result, nil
}

func build(ctx libcnb.BuildContext, result *libcnb.BuildResult) error {
	app := ctx.Application.Path
	root, err := site.Root(app, os.LookupEnv)
	if err != nil {
		return err
	}
	settings, err := site.Read(filepath.Join(app, root), os.LookupEnv)
	if err != nil {
		return err
	}
	if root != "." {
		if err := tree.Keep(app, []string{root, "Procfile"}); err != nil {
			return err
		}
	}
	fmt.Printf("static-web: serving %s; %s\n", root, settings)

	server, err := layer.Open(ctx.Layers, "server", libcnb.LayerTypes{Launch: true})
	if err != nil {
		return err
	}
	config := filepath.Join(server.Path, "lighttpd.conf")
	if err := os.WriteFile(config, []byte(settings.Config()), 0o644); err != nil {
		return err
	}
	server.LaunchEnvironment.Default("PORT", "8080")
	server.LaunchEnvironment.Default("WEB_BIND", "[::]")
	server.LaunchEnvironment.Default("WEB_ACCESS_LOG", "/dev/null")
	result.Layers = append(result.Layers, layer.Filled(server))
	result.Processes = append(result.Processes, libcnb.Process{
		Type: "web", Command: "lighttpd", Arguments: []string{"-D", "-f", config}, Direct: true, Default: true,
	})
	// It holds no package: the server is the run base's, which has its own account.
	return sbom.Write(server.SBOMPath(libcnb.CycloneDXJSON), nil)
}
