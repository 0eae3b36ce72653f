package image

import (
	"os"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/controller/tag"
)

// TestThePageNamesEveryReason holds docs/images.md against what Images can say.
func TestThePageNamesEveryReason(t *testing.T) {
	text, err := os.ReadFile("../../../docs/images.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range gravity {
		if !strings.Contains(string(text), "| `"+string(kind)+"` |") {
			t.Errorf("it does not tell when a Build has the reason %s", kind)
		}
	}
	for _, reason := range []string{UpToDate, Building, BuildFailed, HeldBack, TakenBack, SourceUnknown, SourceAway, BuilderMissing, BuilderUnready, status.Suspended, status.TagTaken, tag.NotAllowed, tag.SourceNotAllowed} {
		if !strings.Contains(string(text), "| `"+reason+"` |") {
			t.Errorf("it does not tell what %s means", reason)
		}
	}
}
