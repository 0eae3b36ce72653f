package cluster_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
	"plimsoll.dev/plimsoll/internal/fault"
)

// runFolder makes this test binary run the cluster of a folder until it is killed.
const runFolder, runNode = "CLUSTER_TEST_FOLDER", "CLUSTER_TEST_NODE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(runFolder); dir != "" {
		c, err := cluster.Start(context.Background(), os.Args[1], dir, cluster.Options{Node: os.Getenv(runNode) != ""})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready")
		<-c.Done()
	}
	os.Exit(m.Run())
}

// TestControlPlane looks at one cluster from all sides, and breaks it last.
func TestControlPlane(t *testing.T) {
	c := clustertest.Start(t)
	for _, side := range []struct {
		name string
		look func(*testing.T, *cluster.Cluster)
	}{
		{"one process runs a folder", oneProcess},
		{"who has no name asks only for health", anonymous},
		{"the kubeconfig is whole and private", kubeconfig},
		{"the program says its versions", versions},
		{"certificates are renewed while it runs", renewal},
		{"killed parts come back", killedParts},
	} {
		t.Run(side.name, func(t *testing.T) { side.look(t, c) })
	}
}

func TestRestartKeepsAll(t *testing.T) {
	dir := t.TempDir()
	c := start(t, dir, cluster.Options{})
	before := c.Config().Host
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "kept"}, StringData: map[string]string{"word": "swordfish-in-clear"}}
	if _, err := client(t, c).CoreV1().Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stop(t, c)
	holdsNot(t, dir, "swordfish-in-clear")
	nothingRuns(t, dir)

	c = start(t, dir, cluster.Options{})
	defer stop(t, c)
	if after := c.Config().Host; after != before {
		t.Errorf("the API moved from %s to %s", before, after)
	}
	kept, err := client(t, c).CoreV1().Secrets("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil || string(kept.Data["word"]) != "swordfish-in-clear" {
		t.Errorf("after a restart the secret is %v, %v", kept, err)
	}
}

func oneProcess(t *testing.T, c *cluster.Cluster) {
	_, err := cluster.Start(t.Context(), clustertest.Program(t), filepath.Dir(c.Kubeconfig()), cluster.Options{})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a second start gives %v, want it to be unavailable", err)
	}
}

func anonymous(t *testing.T, c *cluster.Cluster) {
	nobody := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for path, want := range map[string]int{"/readyz": 200, "/livez": 200, "/api": 401, "/api/v1/namespaces": 401, "/version": 401, "/metrics": 401, "/debug/pprof/": 401} {
		answer, err := nobody.Get(c.Config().Host + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("GET %s: %d, want %d", path, answer.StatusCode, want)
		}
	}
}

func kubeconfig(t *testing.T, c *cluster.Cluster) {
	info, err := os.Stat(c.Kubeconfig())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig: %v, %v; want mode 0600", info.Mode(), err)
	}
	elsewhere := filepath.Join(t.TempDir(), "config")
	text, err := os.ReadFile(c.Kubeconfig())
	if err == nil {
		err = os.WriteFile(elsewhere, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(clustertest.Program(t), "kubectl", "--kubeconfig", elsewhere, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").CombinedOutput()
	if err != nil || string(out) != "admin" {
		t.Errorf("kubectl auth whoami: %s, %v", out, err)
	}
}

func killedParts(t *testing.T, c *cluster.Cluster) {
	api := client(t, c)
	for _, killed := range c.Parts() {
		t.Run(killed.Name, func(t *testing.T) {
			name := "after-" + killed.Name
			if err := syscall.Kill(killed.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, killed.Name+" runs again", func() error {
				for _, p := range c.Parts() {
					if p.Name == killed.Name && (p.PID == 0 || p.PID == killed.PID || p.Restarts == 0) {
						return fmt.Errorf("%+v", p)
					}
				}
				return nil
			})
			// A namespace gets its service account only when all but the scheduler are well.
			eventually(t, "namespaces work", func() error {
				namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
				_, err := api.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
				if err != nil && !strings.Contains(err.Error(), "already exists") {
					return err
				}
				_, err = api.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
				return err
			})
		})
	}
}

func TestKilledParentLeavesNothingRunning(t *testing.T) {
	dir := t.TempDir()
	kill := startElsewhere(t, dir, false)
	api := clientOf(t, filepath.Join(dir, "admin.kubeconfig"))
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}
	if _, err := api.CoreV1().ConfigMaps("default").Create(t.Context(), kept, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	kill()
	c := start(t, dir, cluster.Options{})
	defer stop(t, c)
	if _, err := client(t, c).CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

// TestAnOrphanIsEnded starts while an etcd that nobody waits for still holds the data and its port.
func TestAnOrphanIsEnded(t *testing.T) {
	dir := t.TempDir()
	stop(t, start(t, dir, cluster.Options{Forgetful: true}))
	text, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	var kept struct{ EtcdPort, PeerPort int }
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	port := func(n int) string { return fmt.Sprintf("http://127.0.0.1:%d", n) }
	orphan := exec.Command(clustertest.Program(t), "etcd", "--data-dir="+filepath.Join(dir, "etcd"),
		"--listen-client-urls="+port(kept.EtcdPort), "--advertise-client-urls="+port(kept.EtcdPort), "--listen-peer-urls="+port(kept.PeerPort))
	orphan.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "run", "etcd.pid"), []byte(cluster.Identity(orphan.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, dir, cluster.Options{Forgetful: true}))
	var ended *exec.ExitError
	if err := orphan.Wait(); !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the orphan ended with %v, want it killed", err)
	}
}

func TestProcessesOfOthersAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	other := exec.Command("sleep", "60")
	other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := errors.Join(other.Start(), os.MkdirAll(filepath.Join(dir, "run"), 0o700)); err != nil {
		t.Fatal(err)
	}
	// The id was an etcd's once; now it is another's, which started later.
	stale := strings.Fields(cluster.Identity(other.Process.Pid))
	if err := os.WriteFile(filepath.Join(dir, "run", "etcd.pid"), []byte(stale[0]+" 1 "+stale[2]), 0o600); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, dir, cluster.Options{Forgetful: true}))
	if cluster.Identity(other.Process.Pid) == "" {
		t.Error("a process that is not the cluster's was ended")
	}
	_ = other.Process.Kill()
	_ = other.Wait()
}

func renewal(t *testing.T, c *cluster.Cluster) {
	server, err := url.Parse(c.Config().Host)
	if err != nil {
		t.Fatal(err)
	}
	presents := func(wanted func(left time.Duration) bool) func() error {
		return func() error {
			conn, err := tls.Dial("tcp", server.Host, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return err
			}
			defer conn.Close()
			if left := time.Until(conn.ConnectionState().PeerCertificates[0].NotAfter); !wanted(left) {
				return fmt.Errorf("the API server's certificate ends in %s", left)
			}
			return nil
		}
	}
	old := certificatesOf(t, c)
	for name := range old {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	if err := cluster.Certify(c, now.Add(-320*24*time.Hour)); err != nil { // those end in 45 days
		t.Fatal(err)
	}
	eventually(t, "old certificates", presents(func(left time.Duration) bool { return left < 50*24*time.Hour }))
	if err := cluster.Certify(c, now); err != nil {
		t.Fatal(err)
	}
	eventually(t, "new certificates", presents(func(left time.Duration) bool { return left > 300*24*time.Hour }))
	for name, serial := range certificatesOf(t, c) {
		if serial == old[name] {
			t.Errorf("%s is still the first one", name)
		}
	}
	if _, err := client(t, c).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
}

// certificatesOf gives the cluster's certificates but for its authorities': path and text.
func certificatesOf(t *testing.T, c *cluster.Cluster) map[string]string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(c.Kubeconfig()), "pki", "*.crt"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, path := range found {
		if text, err := os.ReadFile(path); err == nil && filepath.Base(path) != "ca.crt" {
			texts[path] = string(text)
		}
	}
	if len(texts) < 4 {
		t.Fatalf("only %d certificates", len(texts))
	}
	return texts
}

func versions(t *testing.T, c *cluster.Cluster) {
	found, err := cluster.Versions(t.Context(), clustertest.Program(t))
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, v := range found {
		said[v.Name] = v.Version
	}
	server, err := client(t, c).Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if said["kubernetes"] == "" || said["kubernetes"] != server.GitVersion || said["etcd"] == "" || said["plimsoll"] == "" {
		t.Errorf("the program says %v, its API server %s", said, server.GitVersion)
	}
}

// start starts the cluster of a folder, without clustertest's clean-up.
func start(t *testing.T, dir string, opt cluster.Options) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), clustertest.Program(t), dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stop(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// startElsewhere runs the cluster of a folder in another process, and gives what kills that
// process and waits until nothing of it runs.
func startElsewhere(t *testing.T, dir string, node bool) (kill func()) {
	t.Helper()
	parent := exec.Command(os.Args[0], clustertest.Program(t))
	parent.Env = append(os.Environ(), runFolder+"="+dir)
	if node {
		parent.Env = append(parent.Env, runNode+"=yes")
	}
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 1000)
	n, _ := out.Read(said)
	if string(said[:n]) != "ready\n" {
		t.Fatalf("the other process says %s", said[:n])
	}
	return func() {
		t.Helper()
		if err := parent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = parent.Wait() // killed
		eventually(t, "nothing runs", func() error { return running(dir) })
	}
}

func client(t testing.TB, c *cluster.Cluster) *kubernetes.Clientset {
	t.Helper()
	api, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func clientOf(t *testing.T, kubeconfig string) *kubernetes.Clientset {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// eventually asks until the answer is nil.
func eventually(t testing.TB, what string, ask func() error) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within two minutes: %v", what, err)
		}
	}
}

func nothingRuns(t *testing.T, dir string) {
	t.Helper()
	if err := running(dir); err != nil {
		t.Error(err)
	}
}

// running names a process whose command line names the folder, if there is one.
func running(dir string) error {
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, path := range commands {
		command, err := os.ReadFile(path)
		if err == nil && path != "/proc/self/cmdline" && bytes.Contains(command, []byte(dir)) {
			return fmt.Errorf("%s: %s", path, bytes.ReplaceAll(command, []byte{0}, []byte{' '}))
		}
	}
	return nil
}

// holdsNot fails when a file below the folder holds the text.
func holdsNot(t *testing.T, dir, text string) {
	t.Helper()
	looked := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		looked++
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			t.Errorf("%s holds %q", path, text)
		}
		return err
	})
	if err != nil || looked == 0 {
		t.Errorf("%d files looked at, %v", looked, err)
	}
}
