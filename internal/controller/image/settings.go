package image

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// bearing is what of an Image's spec bears on what is built.
type bearing struct {
	AdditionalTags     []string                  `json:"additionalTags,omitempty"`
	Architectures      []string                  `json:"architectures,omitempty"`
	Bindings           []v1alpha1.LocalReference `json:"bindings,omitempty"`
	Buildpacks         []string                  `json:"buildpacks,omitempty"`
	Cache              v1alpha1.ImageCache       `json:"cache,omitzero"`
	Env                []corev1.EnvVar           `json:"env,omitempty"`
	Network            v1alpha1.BuildNetwork     `json:"network,omitempty"`
	Process            string                    `json:"process,omitempty"`
	RunImage           string                    `json:"runImage,omitempty"`
	ServiceAccountName string                    `json:"serviceAccountName,omitempty"`
	Source             string                    `json:"source"`
	Subpath            string                    `json:"subpath,omitempty"`
}

// Settings gives what of an Image's spec bears on what is built, as YAML, and its digest. Where
// the source is counts, which revision of it does not: that is an input of its own, as is the
// builder. Fields that hold their default are left out, so that a default which a later version
// of the API names builds nothing again.
func Settings(spec *v1alpha1.ImageSpec) (text, digest string) {
	b := bearing{
		AdditionalTags: spec.AdditionalTags, Architectures: spec.Architectures, Bindings: spec.Build.Bindings,
		Buildpacks: spec.Build.Buildpacks, Cache: spec.Cache, Env: spec.Build.Env, Network: spec.Build.Network,
		Process: spec.Build.Process, RunImage: spec.Build.RunImage, ServiceAccountName: spec.ServiceAccountName,
		Subpath: spec.Source.Subpath,
	}
	switch s := spec.Source; {
	case s.Git != nil:
		b.Source = s.Git.URL
	case s.Archive != nil:
		b.Source = s.Archive.URL
	case s.Artifact != nil:
		b.Source = "oci://" + s.Artifact.Image
	}
	if b.Network == v1alpha1.NetworkHost {
		b.Network = ""
	}
	if b.ServiceAccountName == "default" {
		b.ServiceAccountName = ""
	}
	yaml, _ := yaml.Marshal(b) // it has come from JSON
	sum := sha256.Sum256(yaml)
	return string(yaml), "sha256:" + hex.EncodeToString(sum[:])
}

// mostLines bounds the texts that are compared line by line.
const mostLines = 400

// differing gives the lines that are in one of the texts only, as "- …" and "+ …".
func differing(was, is string) string {
	a, b := lines(was), lines(is)
	if len(a) > mostLines || len(b) > mostLines {
		return "too many lines to compare"
	}
	// common[i][j] is how many lines a[i:] and b[j:] have in common, in their order.
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return strings.Join(out, "\n")
}

func lines(text string) []string {
	text = strings.TrimSuffix(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
