package cluster_test

import (
	"archive/tar"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// site is a cluster with a node, and a registry with an image that holds busybox.
type site struct {
	cluster  *cluster.Cluster
	api      *kubernetes.Clientset
	registry *served
	image    string
}

func newSite(t *testing.T, c *cluster.Cluster) *site {
	t.Helper()
	s := &site{cluster: c, api: client(t, c), registry: serve(t, c.Address(), t.TempDir())}
	if err := c.Trust(cluster.Registry{Host: s.registry.host, Authority: s.registry.authority}); err != nil {
		t.Fatal(err)
	}
	s.image = push(t, s.registry)
	return s
}

// pod gives a pod that runs a command once.
func (s *site) pod(name string, command ...string) *corev1.Pod {
	soon := int64(1)
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &soon,
		Containers: []corev1.Container{{Name: "only", Image: s.image, Command: command}},
	}}
}

func (s *site) create(t testing.TB, pod *corev1.Pod) {
	t.Helper()
	if _, err := s.api.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// run runs a command in a pod and gives what it printed.
func (s *site) run(t *testing.T, name string, command ...string) string {
	t.Helper()
	s.create(t, s.pod(name, command...))
	return s.logs(t, name)
}

// logs gives what a pod printed, after its end.
func (s *site) logs(t testing.TB, name string) string {
	t.Helper()
	eventually(t, "pod "+name+" ends", func() error {
		if status := s.find(t, name).Status; status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("%s %+v", status.Phase, status.ContainerStatuses)
		}
		return nil
	})
	text, err := s.api.CoreV1().Pods("default").GetLogs(name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s *site) find(t testing.TB, name string) *corev1.Pod {
	t.Helper()
	pod, err := s.api.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// server runs a pod that serves its files on port 8080 and gives its address.
func (s *site) server(t *testing.T, name string) string {
	t.Helper()
	pod := s.pod(name, "httpd", "-f", "-p", "8080", "-h", "/")
	pod.Labels = map[string]string{"app": name}
	s.create(t, pod)
	s.running(t, name, 0)
	return s.find(t, name).Status.PodIP
}

// running waits until a pod runs that was started again so often.
func (s *site) running(t testing.TB, name string, restarts int32) {
	t.Helper()
	eventually(t, "pod "+name+" runs", func() error {
		pod, err := s.api.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Running != nil && c.RestartCount >= restarts {
				return nil
			}
		}
		return fmt.Errorf("%s %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
	})
}

// kill kills a part of the cluster and waits until it runs again.
func (s *site) kill(t *testing.T, name string) {
	t.Helper()
	part := func() cluster.Part {
		for _, p := range s.cluster.Parts() {
			if p.Name == name {
				return p
			}
		}
		t.Fatalf("there is no part %s", name)
		return cluster.Part{}
	}
	before := part()
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, name+" runs again", func() error {
		if now := part(); now.PID == 0 || now.PID == before.PID {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
}

// served is a registry with a certificate of its own authority.
type served struct {
	host      string
	authority []byte
	client    http.RoundTripper
}

// serve serves a registry on an address, until the test ends.
func serve(t *testing.T, address, dir string) *served {
	t.Helper()
	pair, authority := cluster.Issue(t, dir, address)
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	server.Listener.Close()
	server.Listener, server.TLS = listener, &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return &served{host: listener.Addr().String(), authority: authority,
		client: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// push pushes the image that holds busybox, and gives its reference.
func push(t *testing.T, to *served) string {
	t.Helper()
	ref, err := name.NewTag(to.host + "/test/busybox:1")
	if err == nil {
		err = remote.Write(ref, box(t), remote.WithTransport(to.client))
	}
	if err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

const boxName = "plimsoll.dev/test/busybox:1"

// save writes an archive with the image that holds busybox.
func save(t *testing.T, path string) {
	t.Helper()
	tag, err := name.NewTag(boxName)
	if err == nil {
		err = tarball.WriteToFile(path, tag, box(t))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// box gives an image that holds busybox alone.
func box(t *testing.T) v1.Image {
	t.Helper()
	program, err := os.ReadFile(testbed.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	headers := []*tar.Header{
		{Name: "etc/", Mode: 0o755, Typeflag: tar.TypeDir}, {Name: "bin/", Mode: 0o755, Typeflag: tar.TypeDir},
		{Name: "bin/busybox", Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg},
	}
	for _, tool := range []string{"sh", "echo", "wget", "ip", "nc", "sleep", "grep", "httpd", "true"} {
		headers = append(headers, &tar.Header{Name: "bin/" + tool, Linkname: "busybox", Typeflag: tar.TypeSymlink})
	}
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for _, h := range headers {
		err := w.WriteHeader(h)
		if err == nil && h.Size > 0 {
			_, err = w.Write(program)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Env: []string{"PATH=/bin"}, User: "1000:1000"}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}
