package cnb

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCommand reads a command as both ages of the Platform API write it.
func TestCommand(t *testing.T) {
	for text, want := range map[string]Command{
		`"web --port 80"`:  {"web --port 80"},
		`["web","--fast"]`: {"web", "--fast"},
		`null`:             nil,
	} {
		var p Process
		if err := json.Unmarshal([]byte(`{"command":`+text+`}`), &p); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, p.Command); diff != "" {
			t.Errorf("%s: -want +got\n%s", text, diff)
		}
	}
	if err := json.Unmarshal([]byte(`{"command":{}}`), &Process{}); err == nil {
		t.Error("an object is no command")
	}
}

func TestNamedRunImage(t *testing.T) {
	old := RunImage{Image: "old", Mirrors: []string{"mirror"}}
	m := LifecycleMetadata{Stack: &Stack{RunImage: old}}
	if diff := cmp.Diff([]string{"old", "mirror"}, m.NamedRunImage().Names()); diff != "" {
		t.Errorf("in the stack alone: -want +got\n%s", diff)
	}
	m.RunImage.RunImage = RunImage{Image: "new"}
	if diff := cmp.Diff([]string{"new"}, m.NamedRunImage().Names()); diff != "" {
		t.Errorf("in both: -want +got\n%s", diff)
	}
	if names := (LifecycleMetadata{}).NamedRunImage().Names(); names != nil {
		t.Errorf("in neither: %v", names)
	}
}
