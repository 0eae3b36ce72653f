package override

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Put writes the override into a folder as Load reads it, in the place of one of its name. One
// name stays with one package.
func Put(dir string, o v1alpha1.DependencyOverride) error {
	o.TypeMeta.APIVersion, o.TypeMeta.Kind = v1alpha1.APIVersion, v1alpha1.DependencyOverrideKind
	if _, err := New(o); err != nil {
		return err
	}
	path := file(dir, o.Name)
	if text, err := os.ReadFile(path); err == nil {
		old, err := Read(path, text)
		if err != nil {
			return err
		}
		if keyOf(old.Spec.Ecosystem, old.Spec.Package) != keyOf(o.Spec.Ecosystem, o.Spec.Package) {
			return fault.Newf(fault.Usage, "write override", o.Name, fmt.Sprintf("there is one of that name for %s %s", old.Spec.Ecosystem, old.Spec.Package)).
				WithHint("choose another name")
		}
	}
	text, err := encode(o)
	if err != nil {
		return fault.New(fault.Failed, "write override", o.Name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.New(fault.Failed, "write override", dir, err)
	}
	if err := aside.WriteBytes(path, text); err != nil {
		return fault.New(fault.Failed, "write override", path, err)
	}
	return nil
}

// Remove takes the override of that name out of the folder.
func Remove(dir, name string) error {
	if !filepath.IsLocal(name) || filepath.Base(name) != name {
		return fault.Newf(fault.Usage, "remove override", name, "that is no name")
	}
	err := os.Remove(file(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Newf(fault.NotFound, "remove override", name, "there is none in "+dir).WithHint("`plimsoll override list` names them")
	}
	if err != nil {
		return fault.New(fault.Failed, "remove override", name, err)
	}
	return nil
}

func file(dir, name string) string { return filepath.Join(dir, name+".yaml") }

// encode gives the override as a person writes it, without what a cluster says of it.
func encode(o v1alpha1.DependencyOverride) ([]byte, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var plain map[string]any
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, err
	}
	delete(plain, "status")
	plain["metadata"] = map[string]any{"name": o.Name}
	if spec, ok := plain["spec"].(map[string]any); ok {
		if scope, ok := spec["scope"].(map[string]any); ok && len(scope) == 0 {
			delete(spec, "scope")
		}
	}
	return yaml.Marshal(plain)
}
