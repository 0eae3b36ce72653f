package base_test

import (
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/base/basetest"
	"plimsoll.dev/plimsoll/internal/base/spec"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// TestExamplesAccountForEveryFile unpacks the real examples, of both architectures: what
// holds for ten synthetic files must hold for Debian's own.
func TestExamplesAccountForEveryFile(t *testing.T) {
	for _, name := range []string{"static", "run", "build"} {
		t.Run(name, func(t *testing.T) {
			image, err := spec.Load(filepath.Join("../../examples/bases", name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if name == "build" { // large: one architecture will do
				image.Spec.Architectures = image.Spec.Architectures[:1]
			}
			builder := &base.Builder{Home: testbed.Home(t), Agent: "plimsoll-test"}
			result, err := builder.Build(t.Context(), image, base.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, built := range result.Images {
				basetest.Read(t, built.Image).CheckInventory(t)
			}
		})
	}
}
