package helm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// bed is a cluster with a node, and beside it what a site has: a registry with its gate, a database,
// a git server, all with certificates of an authority of the site's own.
type bed struct {
	t       *testing.T // the step that runs
	whole   *testing.T // until whose end all is served
	cluster *cluster.Cluster
	home    string // of the site's registry
	dir     string // of files
	trust   string // file of all certificate authorities, the site's own among them
	tls     [2]string
	host    string // of the registry
	values  map[string]any
}

func newBed(t *testing.T) *bed {
	t.Helper()
	testbed.Tool(t, "bwrap")
	testbed.Tool(t, "git")
	b := &bed{t: t, whole: t, cluster: clustertest.Node(t), home: testbed.Home(t), dir: t.TempDir()}
	b.certify()
	b.host = net.JoinHostPort(b.cluster.Address(), b.freePort())
	authority := b.read("authority.pem")
	if err := b.cluster.Trust(cluster.Registry{Host: b.host, Authority: []byte(authority)}); err != nil {
		t.Fatal(err)
	}
	return b
}

// in gives the bed to a subtest.
func (b *bed) in(t *testing.T) *bed {
	inner := *b
	inner.t = t
	return &inner
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bed) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func (b *bed) write(name, text string) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

// command is a program of the repository or the machine, for the bed's home and cluster.
func (b *bed) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PLIMSOLL_HOME="+b.home, "KUBECONFIG="+b.cluster.Kubeconfig(), "SSL_CERT_FILE="+b.trust,
		"HELM_CACHE_HOME="+b.path("helm"), "HELM_CONFIG_HOME="+b.path("helm"), "HELM_DATA_HOME="+b.path("helm"))
	return cmd
}

// try runs a command and gives what it printed.
func (b *bed) try(args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := b.command(b.t.Context(), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

func (b *bed) run(args ...string) string {
	b.t.Helper()
	out, err := b.try(args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bed) plimsoll(args ...string) string {
	b.t.Helper()
	return b.run(append([]string{"../../bin/plimsoll"}, args...)...)
}

func (b *bed) kubectl(args ...string) string {
	b.t.Helper()
	return b.run(append([]string{"../../bin/kubernetes", "kubectl"}, args...)...)
}

func (b *bed) helm(args ...string) string {
	b.t.Helper()
	path, err := program()
	if err != nil {
		b.t.Fatal(err)
	}
	return b.run(append([]string{path}, args...)...)
}

// apply declares what is written in YAML.
func (b *bed) apply(text string) {
	b.t.Helper()
	b.kubectl("apply", "-f", b.write("apply.yaml", text))
}

// until polls for what gives "" once it is so, and else says how things are.
func (b *bed) until(what string, within time.Duration, is func() string) {
	b.t.Helper()
	said := ""
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		if said = is(); said == "" {
			return
		}
		select {
		case <-b.t.Context().Done():
			b.t.Fatal(b.t.Context().Err())
		case <-time.After(250 * time.Millisecond):
		}
	}
	b.t.Fatalf("not within %s: %s: %s", within, what, said)
}

// certify makes an authority and a certificate for the machine's address.
func (b *bed) certify() {
	b.t.Helper()
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Site"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: b.cluster.Address()}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IPAddresses: []net.IP{net.ParseIP(b.cluster.Address())}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootKey, leafKey := b.key(), b.key()
	signed := func(c *x509.Certificate, key *ecdsa.PrivateKey) string {
		der, err := x509.CreateCertificate(rand.Reader, c, root, &key.PublicKey, rootKey)
		if err != nil {
			b.t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		b.t.Fatal(err)
	}
	authority := signed(root, rootKey)
	b.write("authority.pem", authority)
	b.tls = [2]string{b.write("tls.crt", signed(leaf, leafKey)), b.write("tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))}
	machine, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		b.t.Fatal(err)
	}
	b.trust = b.write("ca-certificates.crt", string(machine)+authority)
}

func (b *bed) key() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	return key
}

func (b *bed) freePort() string {
	l := b.listen()
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	return port
}

// listen listens where pods reach this machine.
func (b *bed) listen() net.Listener {
	l, err := net.Listen("tcp", net.JoinHostPort(b.cluster.Address(), "0"))
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// serveRegistry serves the home's registry with its gate, as a site does, until the test ends.
func (b *bed) serveRegistry() {
	b.t.Helper()
	var said bytes.Buffer
	cmd := b.command(context.Background(), "../../bin/plimsoll", "registry", "serve", "--addr", b.host, "--tls-cert", b.tls[0], "--tls-key", b.tls[1])
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	b.whole.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if b.whole.Failed() {
			b.whole.Logf("the registry said:\n%s", said.String()[max(0, said.Len()-4000):])
		}
	})
	b.until("the registry answers", time.Minute, func() string {
		conn, err := net.DialTimeout("tcp", b.host, time.Second)
		if err != nil {
			return err.Error()
		}
		_ = conn.Close()
		return ""
	})
}

// serveDatabase gives the address at which pods reach a PostgreSQL of the test's own.
func (b *bed) serveDatabase() string {
	b.t.Helper()
	_, folder, _ := strings.Cut(testbed.Postgres(b.whole), "host=")
	l := b.listen()
	var open sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	b.whole.Cleanup(func() { cancel(); l.Close(); open.Wait() })
	open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return // it is closed
			}
			open.Go(func() { forward(ctx, in, folder+"/.s.PGSQL.5432") })
		}
	})
	return "postgres://plimsoll@" + l.Addr().String() + "/postgres?sslmode=disable"
}

// forward joins a connection with a socket until one of them, or ctx, ends.
func forward(ctx context.Context, in net.Conn, socket string) {
	defer in.Close()
	out, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer out.Close()
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { in.Close(); out.Close() })
	var both sync.WaitGroup
	both.Go(func() { defer cancel(); _, _ = io.Copy(out, in) })
	both.Go(func() { defer cancel(); _, _ = io.Copy(in, out) })
	both.Wait()
}

// serveGit serves a repository with the files of a folder, and gives its address.
func (b *bed) serveGit(folder string) string {
	b.t.Helper()
	root := b.path("git")
	if err := os.CopyFS(filepath.Join(root, "app"), os.DirFS(folder)); err != nil {
		b.t.Fatal(err)
	}
	b.git("init", "-q", "-b", "main")
	b.git("add", "-A")
	b.git("commit", "-q", "-m", "First")
	server := &http.Server{Handler: &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(b.run("git", "--exec-path")), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + b.dir, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}}
	l := b.listen()
	ended := make(chan struct{})
	go func() {
		_ = server.ServeTLS(l, b.tls[0], b.tls[1])
		close(ended)
	}()
	b.whole.Cleanup(func() { server.Close(); <-ended })
	return "https://" + l.Addr().String() + "/app"
}

func (b *bed) git(args ...string) {
	b.t.Helper()
	b.run(append([]string{"git", "-C", b.path("git/app"), "-c", "user.name=Ann", "-c", "user.email=ann@example.com"}, args...)...)
}

// set writes the chart's values to a file and gives its path.
func (b *bed) set() string {
	b.t.Helper()
	text, err := yaml.Marshal(b.values)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.write("values.yaml", string(text))
}
