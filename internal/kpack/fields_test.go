package kpack

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// become says what becomes of a field.
type become int

const (
	converted  become = iota // it stands in what comes out
	told                     // a note names it
	understood               // it says what is so in any case, or how to read another
)

// imageFields are those of kpack's Image, kpack.io/v1alpha2 and v1alpha1, with all they hold (kpack's
// pkg/apis/build, ImageSpec; Kubernetes' own types below build are taken as a whole).
var imageFields = []struct {
	path, value string
	become      become
}{
	{"tag", "other:1", converted},
	{"additionalTags", "[other:2]", converted},
	{"builder.kind", "Builder", converted},
	{"builder.name", "other", converted},
	{"builder.namespace", "other", understood},
	{"builder.apiVersion", "kpack.io/v1alpha2", understood},
	{"builder.uid", "7f", told},
	{"builder.resourceVersion", `"1"`, told},
	{"builder.fieldPath", "x", told},
	{"serviceAccountName", "other", converted},
	{"serviceAccount", "other", converted},
	{"source.git.url", "https://git.example.com/other.git", converted},
	{"source.git.url", "git://git.example.com/other.git", told},
	{"source.git.revision", "v2", converted},
	{"source.git.initializeSubmodules", "true", understood},
	{"source.blob.url", "https://files.example.com/x.zip", converted},
	{"source.blob.auth", "helper", told},
	{"source.blob.auth", "secret", converted}, // a login from a secret is the only kind there is
	{"source.blob.stripComponents", "3", told},
	{"source.registry.image", "source:1", converted},
	{"source.registry.imagePullSecrets", "[{name: pull}]", told},
	{"source.subPath", "web", converted},
	{"cache.volume.size", "2Gi", told},
	{"cache.volume.storageClassName", "fast", told},
	{"cache.registry.tag", "cache:1", converted},
	{"cacheSize", "2Gi", told},
	{"failedBuildHistoryLimit", "3", converted},
	{"failedBuildHistoryLimit", "0", told},
	{"successBuildHistoryLimit", "3", converted},
	{"imageTaggingStrategy", "None", converted},
	{"imageTaggingStrategy", "BuildNumber", understood},
	{"projectDescriptorPath", "other.toml", told},
	{"projectDescriptorPath", "./project.toml", understood},
	{"build.env", "[{name: A, value: b}]", converted},
	{"build.services", "[{name: s, kind: Secret, apiVersion: v1}]", converted},
	{"build.services", "[{name: s, kind: Database, apiVersion: example.com/v1}]", told},
	{"build.services", "[{name: s, kind: Secret, namespace: other}]", told},
	{"build.cnbBindings", "[{name: a, metadataRef: {name: b}}]", told},
	{"build.bindings", "[{name: a, metadataRef: {name: b}}]", told},
	{"build.resources", "{limits: {cpu: 1}}", converted},
	{"build.tolerations", "[{key: a, operator: Exists}]", converted},
	{"build.nodeSelector", "{a: b}", converted},
	{"build.affinity", "{podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a}]}}", converted},
	{"build.runtimeClassName", "gvisor", converted},
	{"build.schedulerName", "other", converted},
	{"build.buildTimeout", "90", converted},
	{"build.buildTimeout", "1", told},
	{"build.creationTime", "now", told},
	{"build.later", "x", told},
	{"notary.v1.url", "https://notary.example.com", told},
	{"notary.v1.secretRef.name", "n", told},
	{"cosign.annotations", "[{name: a, value: b}]", told},
	{"defaultProcess", "worker", converted},
	{"later", "x", told},
	{"tag", "[1]", told},
	{"build", "7", told},
	{"source.git", "x", told},
	{"build.services", "x", told},
	{"build.buildTimeout", "soon", told},
	{"source.git.initializeSubmodules", "1", told},
}

const leastImage = `
apiVersion: kpack.io/v1alpha2
kind: Image
metadata: {name: shop, namespace: team}
spec:
  tag: shop:1
  builder: {kind: ClusterBuilder, name: default}
  source: {git: {url: "https://git.example.com/shop.git", revision: main}}
`

func TestEveryImageField(t *testing.T) {
	documents, notes := convertedWith(t, "", "")
	if len(notes) > 0 {
		t.Fatal(notes)
	}
	for _, tt := range imageFields {
		t.Run(tt.path+"="+tt.value, func(t *testing.T) {
			got, notes := convertedWith(t, tt.path, tt.value)
			isTold := slices.ContainsFunc(notes, func(n Note) bool {
				return n.Field != "" && strings.HasPrefix("spec."+tt.path, n.Field) || strings.HasPrefix(n.Field, "spec."+tt.path)
			})
			if isTold != (tt.become == told) && tt.path != "build.services" { // which also says to list the secret
				t.Errorf("want it told: %t; got the notes %v", tt.become == told, notes)
			}
			if changed := got != documents; changed != (tt.become == converted) && tt.become != told {
				t.Errorf("want a change: %t; got\n%s", tt.become == converted, got)
			}
		})
	}
}

// convertedWith gives what becomes of an Image with one field more.
func convertedWith(t *testing.T, path, value string) (string, []Note) {
	t.Helper()
	var image map[string]any
	if err := yaml.Unmarshal([]byte(leastImage), &image); err != nil {
		t.Fatal(err)
	}
	if path != "" {
		steps := strings.Split("spec."+path, ".")
		at := image
		for _, step := range steps[:len(steps)-1] {
			next, ok := at[step].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[step] = next
			}
			at = next
		}
		var v any
		if err := yaml.Unmarshal([]byte(value), &v); err != nil {
			t.Fatal(err)
		}
		at[steps[len(steps)-1]] = v
	}
	text, err := yaml.Marshal(image)
	if err != nil {
		t.Fatal(err)
	}
	result, err := Convert([]Input{{Name: "in.yaml", Text: text}})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Documents) != 1 {
		t.Fatalf("want one resource, got %d", len(result.Documents))
	}
	return string(result.Documents[0]), result.Notes
}
