// Package spec takes the YAML of a BaseImage and gives it checked and with its defaults,
// or an error that names the line and the field.
package spec

import (
	"maps"
	"path/filepath"
	"runtime"
	"slices"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
)

const specHint = "docs/base.md describes every field"

// Load reads the BaseImage in the file. Relative paths in it are made absolute.
func Load(path string) (*v1alpha1.BaseImage, error) {
	text, err := manifest.ReadFile(path)
	if err != nil {
		return nil, err
	}
	image, err := Parse(text)
	if err != nil {
		return nil, fault.New(fault.Usage, "read spec", path, err).WithHint(specHint)
	}
	if key := image.Spec.Archive.Keyring; key != "" && !filepath.IsAbs(key) {
		image.Spec.Archive.Keyring = filepath.Join(filepath.Dir(path), key)
	}
	return image, nil
}

// FromResource checks a BaseImage that stands in a cluster, and gives a copy with its defaults.
// There is no file beside it: a relative path in it is below the folder of parts, and no other
// path is taken.
func FromResource(resource *v1alpha1.BaseImage, parts string) (*v1alpha1.BaseImage, error) {
	image := resource.DeepCopy()
	image.APIVersion, image.Kind = v1alpha1.APIVersion, v1alpha1.BaseImageKind
	problem := check(image)
	if key := &image.Spec.Archive.Keyring; problem == nil && *key != "" {
		if parts == "" || !filepath.IsLocal(*key) {
			problem = manifest.Bad("spec.archive.keyring", "want a path below the folder of parts, or put the keys themselves into archive.keys")
		}
		*key = filepath.Join(parts, *key)
	}
	if problem != nil {
		return nil, fault.New(fault.Usage, "read spec", v1alpha1.BaseImageKind+"/"+image.Name, problem).WithHint(specHint)
	}
	setDefaults(&image.Spec)
	return image, nil
}

// SetSuites has the image take packages from other suites than its spec names.
func SetSuites(image *v1alpha1.BaseImage, suites []string) error {
	image.Spec.Archive.Suites = suites
	maps.DeleteFunc(image.Spec.Archive.Mirrors, func(suite, _ string) bool { return !slices.Contains(suites, suite) })
	if bad := checkArchive(&image.Spec); bad != nil {
		return fault.Newf(fault.Usage, "read flags", "--suite", bad.Text)
	}
	return nil
}

// Parse reads one BaseImage, checks it and fills in the defaults.
func Parse(text []byte) (*v1alpha1.BaseImage, error) {
	var image v1alpha1.BaseImage
	doc, err := manifest.Decode(text, v1alpha1.BaseImageKind, &image)
	if err != nil {
		return nil, err
	}
	if problem := missingNumber(doc.Plain); problem != nil {
		return nil, doc.Wrong(problem)
	}
	if problem := check(&image); problem != nil {
		return nil, doc.Wrong(problem)
	}
	setDefaults(&image.Spec)
	return &image, nil
}

func setDefaults(s *v1alpha1.BaseImageSpec) {
	if len(s.Archive.Components) == 0 {
		s.Archive.Components = []string{"main"}
	}
	if len(s.Architectures) == 0 {
		s.Architectures = []string{runtime.GOARCH}
	}
	slices.Sort(s.Architectures)
	if s.RunAs == nil {
		s.RunAs = &v1alpha1.RunAs{UID: 65532, GID: 65532}
	}
	if s.Layering.MaxLayers == 0 {
		s.Layering.MaxLayers = MaxLayers
	}
	if s.Layering.Compression == "" {
		s.Layering.Compression = "gzip"
	}
	for i := range s.Accounts.Users {
		u := &s.Accounts.Users[i]
		if u.Home == "" {
			u.Home = "/nonexistent"
		}
		if u.Shell == "" {
			u.Shell = "/usr/sbin/nologin"
		}
	}
}
