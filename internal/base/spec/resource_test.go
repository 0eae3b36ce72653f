package spec

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

func TestFromResource(t *testing.T) {
	tests := []struct {
		name, parts string
		archive     v1alpha1.Archive
		keyring     string // the path that comes of it
		says        string // the whole error
	}{
		{name: "no keys of its own", archive: v1alpha1.Archive{Suites: []string{"test"}}},
		{name: "keys in the resource", archive: v1alpha1.Archive{Suites: []string{"test"}, Keys: "armored"}},
		{name: "below the parts", parts: "/parts", archive: v1alpha1.Archive{Suites: []string{"test"}, Keyring: "keys/a.pgp"}, keyring: "/parts/keys/a.pgp"},
		{name: "out of the parts", parts: "/parts", archive: v1alpha1.Archive{Suites: []string{"test"}, Keyring: "../a.pgp"},
			says: "read spec: BaseImage/run: spec.archive.keyring: want a path below the folder of parts, or put the keys themselves into archive.keys"},
		{name: "absolute", parts: "/parts", archive: v1alpha1.Archive{Suites: []string{"test"}, Keyring: "/parts/a.pgp"},
			says: "read spec: BaseImage/run: spec.archive.keyring: want a path below the folder of parts, or put the keys themselves into archive.keys"},
		{name: "no parts", archive: v1alpha1.Archive{Suites: []string{"test"}, Keyring: "a.pgp"},
			says: "read spec: BaseImage/run: spec.archive.keyring: want a path below the folder of parts, or put the keys themselves into archive.keys"},
		{name: "both", parts: "/parts", archive: v1alpha1.Archive{Suites: []string{"test"}, Keyring: "a.pgp", Keys: "armored"},
			says: "read spec: BaseImage/run: spec.archive.keys: there is a keyring, too: want one of them"},
		{name: "a bad field", archive: v1alpha1.Archive{Suites: []string{"../test"}},
			says: `read spec: BaseImage/run: spec.archive.suites[0]: bad or repeated suite "../test"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			resource := &v1alpha1.BaseImage{
				ObjectMeta: metav1.ObjectMeta{Name: "run"},
				Spec:       v1alpha1.BaseImageSpec{Archive: test.archive, Packages: []string{"openssl"}},
			}
			image, err := FromResource(resource, test.parts)
			if resource.Spec.RunAs != nil || strings.HasPrefix(resource.Spec.Archive.Keyring, "/parts/keys") {
				t.Error("the resource itself was changed")
			}
			if test.says != "" {
				if err == nil || err.Error() != test.says || fault.KindOf(err) != fault.Usage {
					t.Errorf("got %v\nwant %s", err, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if image.Spec.Archive.Keyring != test.keyring {
				t.Errorf("keyring %q, want %q", image.Spec.Archive.Keyring, test.keyring)
			}
			if image.Kind != v1alpha1.BaseImageKind || image.Spec.RunAs == nil {
				t.Errorf("it lacks its kind or defaults: %+v", image)
			}
		})
	}
}
