package plane

import (
	"testing"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// TestCameBy finds by what a tag came to name a digest: by a Build, or by a rebase that has none.
func TestCameBy(t *testing.T) {
	of := &v1alpha1.Image{Status: v1alpha1.ImageStatus{Rebases: []v1alpha1.ImageRebase{{Number: 2, Digest: "b"}, {Number: 4, Digest: "a"}, {Number: 5, Digest: "c"}}}}
	made := func(number int64, digest, moved string) *v1alpha1.Build {
		b := &v1alpha1.Build{Spec: v1alpha1.BuildSpec{Number: number}, Status: v1alpha1.BuildStatus{Digest: digest}}
		b.Annotations = map[string]string{v1alpha1.AnnotationMoved: moved}
		return b
	}
	builds := []*v1alpha1.Build{made(1, "a", ""), made(3, "d", ""), made(5, "c", ""), made(6, "", "d")}
	for _, test := range []struct {
		digest string
		want   int64
		build  *v1alpha1.Build
	}{
		{"a", 4, nil}, // as before, by a rebase
		{"b", 2, nil},
		{"c", 5, builds[2]}, // a campaign's Build of that number ran later
		{"d", 6, builds[3]}, // which tells of a move
		{"e", 0, nil},
	} {
		if b, number := cameBy(of, builds, test.digest); number != test.want || b != test.build {
			t.Errorf("%s: by %d, %v", test.digest, number, b)
		}
	}
}
