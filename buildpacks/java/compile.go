package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"plimsoll.dev/plimsoll/buildpacks/internal/layer"
	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
	"plimsoll.dev/plimsoll/buildpacks/internal/tool"
	"plimsoll.dev/plimsoll/buildpacks/internal/tree"
	"plimsoll.dev/plimsoll/buildpacks/java/app"
	"plimsoll.dev/plimsoll/buildpacks/java/class"
	"plimsoll.dev/plimsoll/buildpacks/java/jar"
)

// envMainClass names the class to start, where there are several.
const envMainClass = "BP_JAVA_MAIN_CLASS"

// compile makes the launch layer with the application's jar and gives the arguments that
// start it. Sources that are the last build's are not compiled again.
func (b *build) compile(found app.App) ([]string, error) {
	made, err := layer.Open(b.ctx.Layers, "application", libcnb.LayerTypes{Launch: true})
	if err != nil {
		return nil, err
	}
	key, err := b.key()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(made.Path, "application.jar")
	main := layer.Text(made, "main")
	if layer.Text(made, "key") == key {
		fmt.Println("java: sources are unchanged")
	} else {
		if err := layer.Empty(made); err != nil {
			return nil, err
		}
		if main, err = b.archive(found, file); err != nil {
			return nil, err
		}
		made.Metadata = map[string]any{"key": key, "main": main}
		own := sbom.Package{Type: "generic", Name: main, Main: true}
		if err := sbom.Write(made.SBOMPath(libcnb.CycloneDXJSON), []sbom.Package{own}); err != nil {
			return nil, err
		}
	}
	b.result.Layers = append(b.result.Layers, layer.Filled(made))
	classpath := file
	if found.Libraries != nil {
		classpath += ":" + filepath.Join(b.folder, "lib", "*")
	}
	return []string{"-cp", classpath, main}, nil
}

// key changes with whatever the jar depends on.
func (b *build) key() (string, error) {
	compiler, err := tool.Command{Path: "javac", Args: []string{"-version"}}.Output()
	if err != nil {
		return "", err
	}
	digest, err := tree.Digest(b.folder, nil)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%q\n%q\n%q\n%q\n", b.ctx.Buildpack.Info.Version, compiler, os.Getenv(envMainClass), digest)
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text))), nil
}

// archive compiles the sources into a jar and gives its main class.
func (b *build) archive(found app.App, file string) (string, error) {
	work, err := os.MkdirTemp("", "java-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	classes := filepath.Join(work, "classes")
	args := []string{"-d", classes, "-encoding", "UTF-8", "-sourcepath", found.Root}
	if found.Libraries != nil {
		args = append(args, "-cp", strings.Join(found.Libraries, ":"))
	}
	names := filepath.Join(work, "sources")
	if err := os.WriteFile(names, []byte(quoted(found.Sources)), 0o644); err != nil {
		return "", err
	}
	fmt.Printf("java: compiling %d source files in %s\n", len(found.Sources), found.Root)
	if err := (tool.Command{Path: "javac", Args: append(args, "@"+names), Dir: b.folder}).Run(); err != nil {
		return "", fmt.Errorf("compile: %w", err)
	}
	trees := []fs.FS{os.DirFS(classes)}
	main, err := class.Choose(trees[0], os.Getenv(envMainClass))
	if err != nil {
		return "", fmt.Errorf("%w: name one with %s", err, envMainClass)
	}
	if found.Resources != "" {
		trees = append(trees, os.DirFS(filepath.Join(b.folder, found.Resources)))
	}
	return main, jar.Write(file, main, trees...)
}

// quoted gives the lines of an argument file of javac.
func quoted(files []string) string {
	var text strings.Builder
	for _, file := range files {
		fmt.Fprintf(&text, "\"%s\"\n", strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(file))
	}
	return text.String()
}
