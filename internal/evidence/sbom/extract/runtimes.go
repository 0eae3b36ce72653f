package extract

import (
	"bytes"
	"context"
	"io/fs"
	"path"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/cyclonedx"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/spdx"
)

// javaRelease reads the file "release" that every JDK and JRE has at its top (JEP 223's
// JAVA_VERSION; IMPLEMENTOR by JEP 322).
func javaRelease() Extractor {
	return Extractor{
		Name: "java release", Limit: mib,
		Wants: func(p string, _ fs.FileMode) bool { return path.Base(p) == "release" },
		Read: func(_ context.Context, f File) (Found, error) {
			text, err := f.Text()
			if err != nil {
				return Found{}, err
			}
			said := map[string]string{}
			for line := range bytes.Lines(text) {
				key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
				said[key] = strings.Trim(value, `"`)
			}
			p := artifact.Package{Type: "generic", Name: "openjdk", Version: said["JAVA_RUNTIME_VERSION"], Supplier: said["IMPLEMENTOR"]}
			if p.Version == "" {
				p.Version = said["JAVA_VERSION"]
			}
			if p.Version == "" {
				return Found{}, nil
			}
			return Found{Packages: []artifact.Package{p}, Owns: []Owned{{Path: path.Dir(f.Path), Folder: true}}}, nil
		},
	}
}

// goToolchain reads the file VERSION of an unpacked Go distribution.
func goToolchain() Extractor {
	return Extractor{
		Name: "go toolchain", Limit: 64 << 10,
		Wants: func(p string, _ fs.FileMode) bool { return strings.HasSuffix("/"+p, "/go/VERSION") },
		Read: func(_ context.Context, f File) (Found, error) {
			text, err := f.Text()
			if err != nil {
				return Found{}, err
			}
			first, _, _ := strings.Cut(string(text), "\n")
			version, ok := strings.CutPrefix(strings.TrimSpace(first), "go")
			if !ok {
				return Found{}, nil
			}
			return Found{
				Packages: []artifact.Package{{Type: "generic", Name: "go", Version: version, Licenses: []string{"BSD-3-Clause"}}},
				Owns:     []Owned{{Path: path.Dir(f.Path), Folder: true}},
			}, nil
		},
	}
}

// BuildpackDir is where the exporter puts the buildpacks' bills of materials: below it, one
// folder a buildpack, one in that a layer (CNB buildpack.md, "Software Bill of Materials").
const BuildpackDir = "layers/sbom/launch/"

// buildpackMaterials reads them in any of the three forms the specification allows.
func buildpackMaterials() Extractor {
	return Extractor{
		Name: "buildpack's bill of materials", Limit: 32 * mib,
		Wants: func(p string, _ fs.FileMode) bool { return strings.HasPrefix(p, BuildpackDir) },
		Read: func(_ context.Context, f File) (Found, error) {
			found := Found{Owns: []Owned{{Path: strings.TrimSuffix(BuildpackDir, "/"), Folder: true}}}
			text, err := f.Text()
			if err != nil {
				return found, err
			}
			switch path.Base(f.Path) {
			case "sbom.cdx.json":
				found.Declared, err = cyclonedx.Parse(text)
			case "sbom.spdx.json":
				found.Declared, err = spdx.Parse(text)
			case "sbom.syft.json":
				found.Declared, err = parseSyft(text)
			}
			return found, err
		},
	}
}
