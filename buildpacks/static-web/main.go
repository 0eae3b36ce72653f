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
	"plimsoll.dev/plimsoll/buildpacks/internal/self"
	"plimsoll.dev/plimsoll/buildpacks/internal/tree"
	"plimsoll.dev/plimsoll/buildpacks/static-web/launch"
	"plimsoll.dev/plimsoll/buildpacks/static-web/site"
)

// atLaunch is the name under which the program is in the image, for the launcher to run.
const atLaunch = "web-environment"

func main() {
	if filepath.Base(os.Args[0]) == atLaunch {
		libcnb.RunExecD(map[string]libcnb.ExecD{atLaunch: launch.Environment{}})
		return
	}
	libcnb.Main(detector{}, builder{})
}

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
	if err := layer.Empty(server); err != nil {
		return err
	}
	config := filepath.Join(server.Path, "lighttpd.conf")
	if err := os.WriteFile(config, []byte(settings.Config()), 0o644); err != nil {
		return err
	}
	result.Layers = append(result.Layers, layer.Filled(server))
	result.Processes = append(result.Processes, libcnb.Process{
		Type: "web", Command: "lighttpd", Arguments: []string{"-D", "-f", config}, Direct: true, Default: true,
	})
	packages, err := environment(server)
	if err != nil {
		return err
	}
	// The web server itself is the run base's, which has its own account.
	return sbom.Write(server.SBOMPath(libcnb.CycloneDXJSON), packages)
}

// environment makes the web server's environment at launch, and gives the packages of what
// makes it: this program, or plain values when the image is for another kind of machine.
func environment(server libcnb.Layer) ([]sbom.Package, error) {
	if self.Foreign() != "" {
		for name, value := range launch.Defaults() {
			server.LaunchEnvironment.Default(name, value)
		}
		return nil, nil
	}
	return self.Copy(server.Exec.FilePath(atLaunch))
}
