package build_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// TestFullDisk: a build that fills the disk says so, leaves nothing, and the next one has
// room. Only root may mount the small disk.
func TestFullDisk(t *testing.T) {
	home := t.TempDir()
	if err := unix.Mount("tmpfs", home, "tmpfs", 0, fmt.Sprintf("size=%d", 40<<20)); err != nil {
		t.Fatalf("mount a small disk: %v: run the tests as root (or in `unshare -rm`)", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(home, unix.MNT_DETACH) })
	b := newBedAt(t, home)
	for name, script := range map[string]string{
		"the build fills it":    "head -c 60000000 /dev/zero > $1/big || { echo 'No space left on device' >&2; exit 1; }",
		"the exporter fills it": "mkdir $1/big; head -c 14000000 /dev/urandom > $1/big/big; printf '[types]\\nlaunch = true\\ncache = true\\n' > $1/big.toml",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.platform.Build(t.Context(), b.request("app:1", map[string]string{"build.sh": "set -e\n" + script}))
			if fault.KindOf(err) != fault.Failed || !strings.Contains(strings.ToLower(err.Error()), "no space left") || !strings.Contains(fault.HintOf(err), "make room") {
				t.Errorf("it says %v, hint %q", err, fault.HintOf(err))
			}
			if left := b.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	b.build(b.request("app:1", webApp("ahoy")))
}
