package plane

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	kubernetesclient "k8s.io/client-go/kubernetes"
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

// declareRebased makes the Image web, whose status tells of a rebase of that number.
func declareRebased(t *testing.T, b *bed.Bed, number int64) {
	t.Helper()
	i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	i.Spec = v1alpha1.ImageSpec{
		Tag: "default/web:1", Builder: v1alpha1.ClusterReference{Name: "standard"},
		Source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "https://git.example.com/web.git"}},
	}
	b.Create(t, i)
	i.Status.Rebases = []v1alpha1.ImageRebase{{Number: number, Digest: "sha256:rebased"}}
	if err := b.Client.Status().Update(t.Context(), i); err != nil {
		t.Fatal(err)
	}
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
	declareBuild(t, b, store, 3, v1alpha1.MethodRebase, v1alpha1.BuildFailed)
	declareRebased(t, b, 4)
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
		{"a rebase in a status", cli.LogsOptions{Name: "web-r4"}, "", fault.NotFound},
		{"by its number", cli.LogsOptions{Name: "web", Number: 4}, "", fault.NotFound},
		{"a number that there is not", cli.LogsOptions{Kind: "image", Name: "web", Number: 9}, "", fault.NotFound},
		{"nothing of that name", cli.LogsOptions{Name: "nosuch"}, "", fault.NotFound},
		{"no Build of that name", cli.LogsOptions{Kind: "build", Name: "web"}, "", fault.NotFound},
		{"who may not", cli.LogsOptions{Name: "web", ServiceAccount: "nobody"}, "", fault.Denied},
		{"an account that is not there", cli.LogsOptions{Name: "web", ServiceAccount: "nosuch"}, "", fault.NotFound},
		{"a page that is no place for a token", cli.LogsOptions{Name: "web", Page: "http://plimsoll.example.com"}, "", fault.Usage},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(c.o)
			if strings.Contains(c.name, "rebase") && (err == nil || !strings.Contains(err.Error(), "rebase")) {
				t.Errorf("it does not say that it is one: %v", err)
			}
			if got != c.want || (err != nil) != (c.want == "") || err != nil && fault.KindOf(err) != c.kind {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	t.Run("by the API server, with a token", func(t *testing.T) {
		kubeconfig := behindService(t, b, store)
		var out bytes.Buffer
		o := cli.LogsOptions{Name: "web-b1", Kubeconfig: kubeconfig, ControlPlane: "plimsoll-system"}
		if err := Logs(t.Context(), home, os.Getenv, &out, io.Discard, o); err != nil || out.String() != whole("web-b1") {
			t.Errorf("got %q, %v", &out, err)
		}
		o.ControlPlane = "elsewhere"
		if err := Logs(t.Context(), home, os.Getenv, &out, io.Discard, o); fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "services/proxy") {
			t.Errorf("got %v", err)
		}
	})
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

// behindService serves log pages as those of a control plane that the chart has installed, and gives the
// kubeconfig of somebody who has a token, may view the namespace default, and go through the API server.
func behindService(t *testing.T, b *bed.Bed, store *logs.Store) string {
	t.Helper()
	const system = "plimsoll-system"
	listener, err := net.Listen("tcp", net.JoinHostPort(outward(t), "0")) // the API server goes to no loopback
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: logs.Handler(store, b.Client), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	at := listener.Addr().(*net.TCPAddr)
	b.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}})
	in := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: system, Name: name} }
	ports := []corev1.ServicePort{{Name: "page", Port: 80, TargetPort: intstr.FromInt(at.Port)}}
	b.Create(t, &corev1.Service{ObjectMeta: in("plimsoll"), Spec: corev1.ServiceSpec{Ports: ports}})
	pod := &corev1.Pod{ObjectMeta: in("controllers"), Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "controllers", Image: "none"}}}}
	b.Until(t, func() string { // the cluster has made the account that pods have by default
		if err := b.Client.Create(t.Context(), pod); err != nil {
			return err.Error()
		}
		return ""
	})
	pod.Status.PodIP, pod.Status.PodIPs = at.IP.String(), []corev1.PodIP{{IP: at.IP.String()}}
	if err := b.Client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 the API server's proxy reads no other
	b.Create(t, &corev1.Endpoints{ObjectMeta: in("plimsoll"), Subsets: []corev1.EndpointSubset{{
		Addresses: []corev1.EndpointAddress{{IP: at.IP.String(), TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: system, Name: "controllers"}}},
		Ports:     []corev1.EndpointPort{{Name: "page", Port: int32(at.Port)}},
	}}})
	b.Create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "developer"}})
	clients, err := kubernetesclient.NewForConfig(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	bind := func(namespace string, rule rbacv1.PolicyRule) {
		at := metav1.ObjectMeta{Namespace: namespace, Name: "developer"}
		_, err := clients.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: at, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{})
		if err == nil {
			_, err = clients.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
				ObjectMeta: at, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: at.Name},
				Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "developer"}},
			}, metav1.CreateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	bind("default", rbacv1.PolicyRule{Verbs: []string{"get", "list"}, APIGroups: []string{"plimsoll.dev"}, Resources: []string{"builds", "builds/log"}})
	bind(system, rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"services/proxy"}, ResourceNames: []string{"plimsoll:page"}})
	token, err := clients.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "developer", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["c"] = &clientcmdapi.Cluster{Server: b.Config.Host, CertificateAuthorityData: b.Config.CAData, CertificateAuthority: b.Config.CAFile}
	kubeconfig.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	kubeconfig.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: "default"}
	kubeconfig.CurrentContext = "x"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*kubeconfig, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// outward gives an address of this machine that is no loopback.
func outward(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no address but loopback")
	return ""
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
