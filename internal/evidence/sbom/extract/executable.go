package extract

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// executable reads what Go, and Rust's cargo-auditable, wrote into programs, and knows the
// runtimes of languages by a text in them.
func executable() Extractor {
	return Extractor{
		Name: "executable", Limit: 4096 * mib,
		Wants: func(p string, mode fs.FileMode) bool {
			return mode&0o111 != 0 || strings.Contains(path.Base(p), ".so") || strings.HasSuffix(p, ".exe")
		},
		Magic: isExecutable,
		Read: func(_ context.Context, f File) (Found, error) {
			if packages := goModules(f); packages != nil {
				return Found{Packages: packages, Owns: []Owned{{Path: f.Path}}, Whole: mainModule}, nil
			}
			packages, err := rustCrates(f)
			if runtime := runtimeOf(f); runtime.Name != "" {
				packages = append(packages, runtime)
			}
			if packages == nil || err != nil {
				return Found{}, err
			}
			return Found{Packages: packages, Owns: []Owned{{Path: f.Path}}}, nil
		},
	}
}

// isExecutable knows ELF, PE and Mach-O.
func isExecutable(head []byte) bool {
	for _, magic := range []string{"\x7fELF", "MZ", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xfe\xed\xfa\xcf", "\xca\xfe\xba\xbe"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}

// mainModule is where goModules puts it, counted from 1.
const mainModule = 2

// goModules gives the standard library, the main module and all modules linked in; nil for
// what Go did not build.
func goModules(f File) []artifact.Package {
	info, err := buildinfo.Read(f.Body)
	if err != nil {
		return nil
	}
	release, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	packages := []artifact.Package{{Type: "golang", Name: "stdlib", Version: release, Licenses: []string{"BSD-3-Clause"}}}
	main := goModule(&info.Main)
	switch {
	case main.Name == "": // Go's own tools, and what is built from files, are of no module
		main = goModule(&debug.Module{Path: cmp.Or(info.Path, "command-line-arguments")})
	case main.Version == "":
		main.Version = stamped(info.Settings)
	}
	packages = append(packages, main)
	for _, dep := range info.Deps {
		if p := goModule(dep); p.Name != "" {
			packages = append(packages, p)
		}
	}
	return packages
}

// placeholder is what people write for a module that a folder replaces.
const placeholder = "v0.0.0-00010101000000-000000000000"

// goModule gives the module that was compiled in: the replacement, unless that is only a
// folder. The version is as Go writes it, with its "v".
func goModule(m *debug.Module) artifact.Package {
	if m.Replace != nil && m.Replace.Version != "" && m.Replace.Version != "(devel)" {
		m = m.Replace
	}
	namespace, name := path.Split(m.Path)
	version := m.Version
	if version == "(devel)" || version == placeholder {
		version = ""
	}
	return artifact.Package{Type: "golang", Namespace: strings.TrimSuffix(namespace, "/"), Name: name, Version: version}
}

// stamped gives the pseudo-version of the commit that a main module was built from (Go
// modules reference, "Pseudo-versions"); "" when the build did not say.
func stamped(settings []debug.BuildSetting) string {
	var revision string
	var when time.Time
	for _, s := range settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.time":
			when, _ = time.Parse(time.RFC3339, s.Value)
		}
	}
	if len(revision) < 12 || when.IsZero() {
		return ""
	}
	return fmt.Sprintf("v0.0.0-%s-%s", when.UTC().Format("20060102150405"), revision[:12])
}

// maxCrates bounds the unpacked list of a Rust program's crates.
const maxCrates = 16 * mib

// rustCrates reads the section that cargo-auditable leaves in ELF programs (its
// documentation, "Format"): compressed JSON.
func rustCrates(f File) ([]artifact.Package, error) {
	program, err := elf.NewFile(f.Body)
	if err != nil {
		return nil, nil // another format, or damaged: nothing that names crates
	}
	section := program.Section(".dep-v0")
	if section == nil {
		return nil, nil
	}
	packed, err := zlib.NewReader(section.Open())
	if err != nil {
		return nil, fmt.Errorf("its list of crates: %w", err)
	}
	var list struct {
		Packages []struct{ Name, Version, Kind string }
	}
	if err := json.NewDecoder(io.LimitReader(packed, maxCrates)).Decode(&list); err != nil {
		return nil, fmt.Errorf("its list of crates: %w", err)
	}
	var packages []artifact.Package
	for _, c := range list.Packages {
		if c.Kind != "build" && c.Name != "" {
			packages = append(packages, artifact.Package{Type: "cargo", Name: c.Name, Version: c.Version})
		}
	}
	return packages, nil
}

// pythonName is what Python's interpreter and its library are called.
var pythonName = regexp.MustCompile(`^(?:lib)?python(3\.\d+)(?:\.so.*)?$`)

// runtimeOf knows Node.js and Python by their own words; it gives no name for anything else.
func runtimeOf(f File) artifact.Package {
	base := path.Base(f.Path)
	p := artifact.Package{Type: "generic"}
	if minor := pythonName.FindStringSubmatch(base); minor != nil {
		p.Name, p.Version = "python", versionAfter(f, "\x00"+minor[1]+".", minor[1]+".")
	} else if base == "node" {
		p.Name, p.Version = "node", versionAfter(f, "nodejs.org/download/release/v", "")
	}
	if p.Version == "" {
		return artifact.Package{}
	}
	return p
}

// versionAfter searches the file for the text and gives what digits and dots follow it,
// behind the prefix.
func versionAfter(f File, text, prefix string) string {
	const window = 256 << 10
	buf := make([]byte, window+64)
	for at := int64(0); at < f.Size; at += window {
		n, _ := f.Body.ReadAt(buf, at)
		rest := buf[:n]
		for {
			i := bytes.Index(rest, []byte(text))
			if i < 0 {
				break
			}
			rest = rest[i+len(text):]
			end := bytes.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
			if end > 0 {
				return prefix + strings.Trim(string(rest[:end]), ".")
			}
		}
	}
	return ""
}
