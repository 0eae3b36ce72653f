package build_test

import (
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
)

// TestHostileDetect: what detect does beside finding buildpacks leads neither plimsoll nor
// the phases after it astray.
func TestHostileDetect(t *testing.T) {
	b := newBed(t)
	refused := func(command string) string { return "if " + command + "; then exit 7; fi" }
	for _, tt := range []struct{ name, detect, wants string }{
		{"it writes what was analyzed", refused("echo x >> /plimsoll/state/analyzed.toml"), ""},
		{"it links the run image elsewhere", refused("ln -sf /etc/base /plimsoll/state/run.toml"), ""},
		{"it leaves layers", "mkdir -p /layers/test_script; echo x > /layers/test_script/left", ""},
		{"the group is a pipe", "busybox mkfifo $GROUP; cat $GROUP >/dev/null 2>&1 </dev/null &", "no file"},
		{"the group leads out", "ln -s /plimsoll/layers/x $GROUP; mkdir -p /plimsoll/layers", "group.toml"},
		{"the group is empty", "ln -s /dev/null $GROUP", "group.toml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := webApp("ahoy")
			files["detect.sh"] = "GROUP=/plimsoll/found/group.toml\n" + tt.detect
			files["build.sh"] = "[ ! -e $1/left ] || { echo a layer was left; exit 1; }\n" + files["build.sh"]
			ended := make(chan error, 1)
			go func() {
				result, err := b.platform.Build(t.Context(), b.request("app:1", files))
				if err == nil {
					result.Close()
				}
				ended <- err
			}()
			select {
			case err := <-ended:
				if tt.wants == "" && err != nil {
					t.Error(err)
				}
				if tt.wants != "" && (err == nil || !strings.Contains(err.Error(), tt.wants) || fault.HintOf(err) == "") {
					t.Errorf("it says %v, hint %q; want %q and a hint", err, fault.HintOf(err), tt.wants)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it waits for ever")
			}
			if left := b.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
