package executortest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// Busybox gives a layer with a shell and the usual tools in /bin, made of the machine's
// static busybox (Debian: busybox-static), and a few files that the suite looks at.
func Busybox(t testing.TB) executor.Layer {
	t.Helper()
	path := testbed.Tool(t, "busybox")
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(binary, []byte("/lib64/ld-linux")) {
		t.Fatalf("%s is not static: run `make setup`, which installs busybox-static", path)
	}
	list, err := exec.Command(path, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	members := []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "home/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "home/app/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: AppUID, Gid: AppUID},
		{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(binary))},
	}
	for applet := range strings.FieldsSeq(string(list)) {
		if applet != "busybox" {
			members = append(members, tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox"})
		}
	}
	files := map[string]string{"bin/busybox": string(binary)}
	add := func(name, content string, mode int64, uid int) {
		files[name] = content
		members = append(members, tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Uid: uid, Gid: uid, Size: int64(len(content))})
	}
	add("etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n", 0o644, 0)
	add("etc/shadow", "root-only\n", 0o600, 0)
	add("home/app/own", "app-only\n", 0o600, AppUID)
	add("bin/setuid", string(binary), 0o4755, 0)
	return TarLayer(t, members, files)
}

// AppUID owns /home/app in Busybox's layer.
const AppUID = 1000

// TarLayer gives the layer of these tar members; files holds the content of the regular
// ones by name.
func TarLayer(t testing.TB, members []tar.Header, files map[string]string) executor.Layer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, m := range members {
		if err := w.WriteHeader(&m); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[m.Name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return BytesLayer(buf.Bytes())
}

// BytesLayer gives the layer whose uncompressed tar is raw.
func BytesLayer(raw []byte) executor.Layer {
	sum := sha256.Sum256(raw)
	return executor.Layer{
		DiffID: "sha256:" + hex.EncodeToString(sum[:]),
		Open:   func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil },
	}
}
