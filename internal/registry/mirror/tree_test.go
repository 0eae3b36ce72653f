package mirror

import (
	"bytes"
	"encoding/json"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/oci"
)

// FuzzNarrow narrows whatever a source may call an index.
func FuzzNarrow(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:aa","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}`))
	f.Add([]byte(`{"manifests":[{"platform":{"os":"linux","architecture":"amd64"}},{"annotations":{"vnd.docker.reference.digest":":"},"platform":{"os":"unknown"}}],"subject":{}}`))
	f.Add([]byte(`{"manifests":[{"platform":null},{"platform":{}}],"annotations":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var index v1.IndexManifest
		if json.Unmarshal(raw, &index) != nil || len(index.Manifests) > maxManifests {
			return
		}
		whole := &tree{Manifest: oci.Manifest{Raw: raw, Index: &index}}
		for range index.Manifests {
			whole.children = append(whole.children, &tree{})
		}
		narrow, err := whole.narrow([]v1.Platform{{OS: "linux", Architecture: "amd64"}})
		if err != nil {
			return
		}
		digest, size, err := v1.SHA256(bytes.NewReader(narrow.Raw))
		if err != nil || digest != narrow.Digest || size != narrow.Size || len(narrow.children) != len(narrow.Index.Manifests) {
			t.Errorf("got %+v, %v", narrow.Manifest, err)
		}
		for _, d := range narrow.Index.Manifests {
			if d.Annotations[attestedImage] == "" && (d.Platform == nil || d.Platform.OS != "linux" || d.Platform.Architecture != "amd64") {
				t.Errorf("kept %+v", d)
			}
		}
	})
}
