package plane

import (
	"bytes"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/fault"
)

// newHome gives the folder of a home whose cluster is the bed's, and whose page serves the store.
func newHome(t *testing.T, b *bed.Bed, store *logs.Store) string {
	t.Helper()
	if err := letReadLogs(t.Context(), b.Client); err != nil {
		t.Fatal(err)
	}
	page := httptest.NewServer(logs.Handler(store, b.Client))
	t.Cleanup(page.Close)
	home := t.TempDir()
	dir := filepath.Join(home, "kubernetes")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, pageFile), []byte(page.URL+"/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["home"] = &clientcmdapi.Cluster{Server: b.Config.Host, CertificateAuthorityData: b.Config.CAData, CertificateAuthority: b.Config.CAFile}
	kubeconfig.AuthInfos["home"] = &clientcmdapi.AuthInfo{
		ClientCertificateData: b.Config.CertData, ClientKeyData: b.Config.KeyData,
		ClientCertificate: b.Config.CertFile, ClientKey: b.Config.KeyFile,
	}
	kubeconfig.Contexts["home"] = &clientcmdapi.Context{Cluster: "home", AuthInfo: "home"}
	kubeconfig.CurrentContext = "home"
	if err := clientcmd.WriteToFile(*kubeconfig, filepath.Join(dir, "admin.kubeconfig")); err != nil {
		t.Fatal(err)
	}
	return home
}

// declareBuild makes a Build of the Image web in the namespace default, and a log for it.
func declareBuild(t *testing.T, b *bed.Bed, store *logs.Store, number int64, method v1alpha1.BuildMethod, phase v1alpha1.BuildPhase) *v1alpha1.Build {
	t.Helper()
	of := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1"}}
	made := image.New(of, number, v1alpha1.BuildSpec{
		Method: method, Priority: v1alpha1.PriorityCommit, Reasons: []v1alpha1.BuildReason{{Type: v1alpha1.ReasonCommit}},
	})
	made.OwnerReferences = nil // it would be removed with an Image that is not there
	b.Create(t, made)
	made.Status.Phase, made.Status.Attempts = phase, 1
	if err := b.Client.Status().Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	if method == v1alpha1.MethodBuild && phase.Ended() {
		log := newLog(t, store, made.Name)
		logs.Begin(log, "detect", "")
		_, _ = io.WriteString(log, "it fits "+made.Name+"\n")
		logs.Begin(log, "build", "")
		_, _ = io.WriteString(log, "made "+made.Name+"\n")
		_ = log.Close()
	}
	return made
}

func newLog(t *testing.T, store *logs.Store, build string) *logs.Log {
	t.Helper()
	log, err := store.Create("default", build)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

// TestLogs reads logs as the administrator of a home does, who has a certificate, from a real API server
// and the log pages.
func TestLogs(t *testing.T) {
	b := bed.New(t)
	store := logs.New(t.TempDir(), 0)
	home := newHome(t, b, store)
	declareBuild(t, b, store, 1, v1alpha1.MethodBuild, v1alpha1.BuildFailed)
	declareBuild(t, b, store, 2, v1alpha1.MethodBuild, v1alpha1.BuildSucceeded)
	declareBuild(t, b, store, 3, v1alpha1.MethodRebase, v1alpha1.BuildSucceeded)
	b.Create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nobody"}})
	whole := func(name string) string {
		return "===> detect\nit fits " + name + "\n===> build\nmade " + name + "\n"
	}
	read := func(o cli.LogsOptions) (string, error) {
		var out bytes.Buffer
		o.Namespace = "default"
		err := Logs(t.Context(), home, func(string) string { return "" }, &out, io.Discard, o)
		return out.String(), err
	}
	for _, c := range []struct {
		name string
		o    cli.LogsOptions
		want string
		kind fault.Kind
	}{
		{"an Image's newest from source", cli.LogsOptions{Name: "web"}, whole("web-b2"), 0},
		{"followed, though it is over", cli.LogsOptions{Name: "web", Follow: true}, whole("web-b2"), 0},
		{"one by its number", cli.LogsOptions{Kind: "image", Name: "web", Number: 1}, whole("web-b1"), 0},
		{"a Build", cli.LogsOptions{Name: "web-b1"}, whole("web-b1"), 0},
		{"one step", cli.LogsOptions{Name: "web-b1", Step: "build"}, "===> build\nmade web-b1\n", 0},
		{"a rebase", cli.LogsOptions{Name: "web-b3"}, "", fault.NotFound},
		{"a number that there is not", cli.LogsOptions{Kind: "image", Name: "web", Number: 9}, "", fault.NotFound},
		{"nothing of that name", cli.LogsOptions{Name: "nosuch"}, "", fault.NotFound},
		{"no Build of that name", cli.LogsOptions{Kind: "build", Name: "web"}, "", fault.NotFound},
		{"who may not", cli.LogsOptions{Name: "web", ServiceAccount: "nobody"}, "", fault.Denied},
		{"an account that is not there", cli.LogsOptions{Name: "web", ServiceAccount: "nosuch"}, "", fault.NotFound},
		{"a page that is no place for a token", cli.LogsOptions{Name: "web", Page: "http://plimsoll.example.com"}, "", fault.Usage},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(c.o)
			if got != c.want || (err != nil) != (c.want == "") || err != nil && fault.KindOf(err) != c.kind {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	t.Run("one that waits is followed through its attempts to its end", func(t *testing.T) {
		now := declareBuild(t, b, store, 4, v1alpha1.MethodBuild, v1alpha1.BuildQueued)
		phase := func(is v1alpha1.BuildPhase, attempts int32, message string) {
			b.Until(t, func() string {
				b.Get(t, now)
				now.Status.Phase, now.Status.Attempts, now.Status.Message = is, attempts, message
				if err := b.Client.Status().Update(t.Context(), now); err != nil {
					return err.Error()
				}
				return ""
			})
		}
		phase(v1alpha1.BuildQueued, 0, "it waits for its turn")
		out, errs := &shared{}, &shared{}
		ended := make(chan error, 1)
		go func() {
			ended <- Logs(t.Context(), home, func(string) string { return "" }, out, errs, cli.LogsOptions{Namespace: "default", Name: "web", Follow: true})
		}()
		until := func(where *shared, text string) {
			b.Until(t, func() string {
				if got := where.String(); !strings.Contains(got, text) {
					return "so far: " + got
				}
				return ""
			})
		}
		first := newLog(t, store, now.Name)
		phase(v1alpha1.BuildRunning, 1, "")
		_, _ = io.WriteString(first, "first\n")
		until(out, "first\n")
		_ = first.Close()
		phase(v1alpha1.BuildQueued, 1, "the registry is away")
		until(errs, "web-b4: the registry is away\n")
		second := newLog(t, store, now.Name)
		phase(v1alpha1.BuildRunning, 2, "")
		_, _ = io.WriteString(second, "second\n")
		until(out, "second\n")
		_ = second.Close()
		phase(v1alpha1.BuildSucceeded, 2, "")
		select {
		case err := <-ended:
			if err != nil || out.String() != "first\nsecond\n" {
				t.Errorf("got %q, %v", out, err)
			}
		case <-time.After(time.Minute):
			t.Error("it does not end")
		}
	})
}

// TestTheTokenIsTheKubeconfigs holds that nobody is read as somebody else than his kubeconfig says.
func TestTheTokenIsTheKubeconfigs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("of a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config rest.Config
		want   string
	}{
		"a token":       {rest.Config{BearerToken: "of mine"}, "of mine"},
		"a file's":      {rest.Config{BearerTokenFile: file}, "of a file"},
		"a certificate": {rest.Config{}, ""},
		"a password":    {rest.Config{Username: "u", Password: "p"}, ""},
	} {
		if got, err := tokenOf(&c.config); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestWayToTheLogPages(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, pageFile), []byte("http://127.0.0.1:5080/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := client.ObjectKey{Namespace: "shop", Name: "web-b1"}
	for _, c := range []struct{ name, page, own, want string }{
		{"the home's", "", home, "http://127.0.0.1:5080/logs/shop/web-b1"},
		{"by the API server", "", "", "https://api.example.com:6443/api/v1/namespaces/plimsoll-system/services/plimsoll:page/proxy/logs/shop/web-b1"},
		{"an ingress", "https://plimsoll.example.com", home, "https://plimsoll.example.com/logs/shop/web-b1"},
		{"a port that is forwarded", "http://localhost:8080", "", "http://localhost:8080/logs/shop/web-b1"},
		{"a token in the clear", "http://plimsoll.example.com", "", ""},
		{"another protocol", "ftp://127.0.0.1/", "", ""},
		{"no address", "plimsoll", "", ""},
		{"a home that is not up", "", filepath.Join(home, "nosuch"), ""},
	} {
		r := &reading{own: c.own, target: &rest.Config{Host: "https://api.example.com:6443"}}
		r.Page, r.ControlPlane = c.page, "plimsoll-system"
		_, got, err := r.way(build)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
}
