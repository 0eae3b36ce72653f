package imageimport

import (
	"fmt"
	"path/filepath"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/homefile"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
)

// variable begins the names of those of the controllers' variables that imports may be told of.
const variable = "env://PLIMSOLL_IMPORT_"

const hint = "docs/reconcilers.md, \"ImageImport\", says what it may name"

// check gives what is wrong with an import: with itself, with what it would have this process read,
// or with the others of the home, which are all read or none.
func check(i *v1alpha1.ImageImport, folder homefile.Folder, text []byte) error {
	which := v1alpha1.ImageImportKind + "/" + i.Name
	if p := outside(i.Spec); p != nil {
		return fault.New(fault.Usage, "read import", which, p).WithHint(hint)
	}
	path := folder.Path(v1alpha1.ImageImportKind, i.Name)
	if _, err := mirror.ParseImports(path, text); err != nil {
		return err
	}
	others, err := filepath.Glob(filepath.Join(folder.Dir, "*.y*ml"))
	if err != nil {
		return err
	}
	for _, file := range others {
		if file == path {
			continue
		}
		imports, err := mirror.ReadImports(file)
		if err != nil {
			return homefile.OfSet("put imports together", err)
		}
		for _, other := range imports {
			if other.Name == i.Name {
				return fault.New(fault.Denied, "write import", which, fmt.Errorf("%s has one of that name: %w", filepath.Base(file), homefile.ErrTaken)).
					WithHint("remove that one, or give the resource another name")
			}
		}
	}
	return nil
}

// outside gives the first thing that the import would read, and that was not put there for it.
// Whoever may declare imports says to which host the password goes: were every file and variable
// of this process open to him, so were its secrets.
func outside(spec v1alpha1.ImageImportSpec) *manifest.Problem {
	if c := spec.Credentials; c != nil && !isFor(string(c.Password)) {
		return manifest.Bad("spec.credentials.password", `want a file below the home's folder imports, or "`+variable+`NAME"`)
	}
	v := spec.Verify
	if v == nil {
		return nil
	}
	for _, list := range []struct {
		field string
		names []string
	}{{"keys", v.Keys}, {"attestationKeys", v.AttestationKeys}, {"root", []string{string(v.Root)}}} {
		for _, name := range list.names {
			isService := strings.Contains(name, "://") && !strings.HasPrefix(name, "env://") && !strings.HasPrefix(name, "file:")
			if name != "" && !isService && !isFor(name) {
				return manifest.Bad("spec.verify."+list.field, `want files below the home's folder imports, "`+variable+`NAME", or a key service's address`)
			}
		}
	}
	return nil
}

// isFor says whether a variable or a file is there for imports.
func isFor(name string) bool {
	if strings.HasPrefix(name, variable) {
		return len(name) > len(variable)
	}
	return filepath.IsLocal(name) && !strings.Contains(name, ":")
}
