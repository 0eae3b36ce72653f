package cluster_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
	"plimsoll.dev/plimsoll/internal/testbed"
)

const boxName = "plimsoll.dev/test/busybox:1"

// box gives an image that holds busybox alone.
func box(t *testing.T) v1.Image {
	t.Helper()
	text, err := os.ReadFile(testbed.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range []*tar.Header{{Name: "bin/", Mode: 0o755, Typeflag: tar.TypeDir}, {Name: "bin/busybox", Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"sh", "wget", "ip", "nc", "sleep", "cat", "ping", "httpd"} {
		if err := w.WriteHeader(&tar.Header{Name: "bin/" + tool, Linkname: "busybox", Typeflag: tar.TypeSymlink}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, made)
	if err == nil {
		image, err = mutate.ConfigFile(image, &v1.ConfigFile{
			OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers", DiffIDs: must(made.DiffID())},
			Config: v1.Config{Env: []string{"PATH=/bin"}, User: "1000:1000"},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func must(h v1.Hash, _ error) []v1.Hash { return []v1.Hash{h} }

func TestNode(t *testing.T) {
	t0 := time.Now()
	c := clustertest.Node(t)
	t.Log(time.Since(t0))
	archive := filepath.Join(t.TempDir(), "box.tar")
	tag, err := name.NewTag(boxName)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(archive, tag, box(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.Import(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	api := client(t, c)
	t0 = time.Now()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "hello"}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "c", Image: boxName, Command: []string{"sh", "-c", "ip addr; ip route; wget -O- --no-check-certificate https://$KUBERNETES_SERVICE_HOST/readyz; echo $?; nc -w 2 " + c.Address() + " 10250; echo done; cat /etc/resolv.conf"}}},
	}}
	if _, err := api.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Log(logs(t, api, "hello"))
	t.Log(time.Since(t0))
	for _, p := range c.Parts() {
		t.Logf("%+v", p)
	}
}

// logs gives what a pod printed, after its end.
func logs(t *testing.T, api *kubernetes.Clientset, name string) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		pod, err := api.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("pod %s does not end: %+v", name, pod.Status)
		}
	}
	text, err := api.CoreV1().Pods("default").GetLogs(name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
