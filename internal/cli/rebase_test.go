package cli

import (
	"testing"

	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/oci"
)

// TestAnnotationsAgree holds what bases write against what a rebase reads.
func TestAnnotationsAgree(t *testing.T) {
	if base.LayerAnnotation != oci.LayerAnnotation || base.PackagesAnnotation != oci.PackagesAnnotation {
		t.Error("internal/base and internal/oci name the annotations of layers differently")
	}
}
