package hardening_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"plimsoll.dev/plimsoll/internal/evidence/hardening"
)

func privateKey(t testing.TB) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// chars gives n letters that look random: tokens are put together here, so that no scanner
// takes this file for one that holds some.
func chars(n int) string {
	return strings.Repeat("q7Rt2WmZx9Lp4Kd8", n/16+1)[:n]
}

// where gives the secrets of a report as lines.
func where(r hardening.Report) []string {
	var out []string
	for _, s := range r.Secrets {
		line := fmt.Sprintf("%s in %s %s:%d", s.Kind, s.In, s.Name, s.Line)
		if s.Deleted {
			line += " deleted"
		}
		if s.Sample {
			line += " sample"
		}
		out = append(out, line)
	}
	return out
}

func TestSecretsInFiles(t *testing.T) {
	aws := "AKIA" + strings.Repeat("Q7RT", 4) + "\n" + chars(40) + "\n"
	for _, c := range []struct {
		name, path, text string
		want             string // kind and line; "" when there is none
	}{
		{"a key", "srv/tls.key", privateKey(t), "private-key:1"},
		{"a key in a text", "srv/conf.yaml", "key: |\n\n" + privateKey(t), "private-key:3"},
		{"a certificate", "srv/tls.crt", strings.ReplaceAll(privateKey(t), "PRIVATE KEY", "CERTIFICATE"), ""},
		{"a word about keys", "README", "It begins with -----BEGIN PRIVATE KEY-----.", ""},
		{"aws", "root/.aws/credentials", "[default]\n" + aws, "aws-access-key:2"},
		{"aws's example", "a.txt", strings.ReplaceAll(aws, "Q7RTQ7RT\n", "QEXAMPLE\n"), ""},
		{"gitlab", "a", "x\ny = glpat-" + chars(20), "gitlab-token:2"},
		{"slack", "a", "xoxb-" + "1234567890123" + "-" + chars(24), "slack-token:1"},
		{"vault", "a", "hvs." + chars(30), "vault-token:1"},
		{"python that says so", "a.py", "this.tohvs.x = 1", ""},
		{"npmrc", "root/.npmrc", "# x\n//registry/:_authToken=" + chars(36) + "\n", "npm-auth:2"},
		{"npmrc of a variable", "root/.npmrc", "//registry/:_authToken=${NPM_TOKEN}\n", ""},
		{"docker", "root/.docker/config.json", "{\"auths\":{\"h\":{\n\"auth\":\"" + chars(20) + "\"}}}", "docker-auth:2"},
		{"docker's helper", "root/.docker/config.json", `{"auths":{"h":{}},"credsStore":"x"}`, ""},
		{"kubeconfig", "root/.kube/config", "current-context: a\nusers:\n- user:\n    token: " + chars(30), "kubeconfig:4"},
		{"netrc", "root/.netrc", "machine a login b password " + chars(10), "netrc-password:1"},
		{"shadow", "etc/shadow", "daemon:*:1::::::\nroot:$y$j9T$" + chars(40) + ":1::::::", "password-hash:2"},
		{"shadow of nobody", "etc/shadow", "daemon:*:1::::::\nroot:!:1::::::", ""},
		{"env", "app/.env", "PORT=8080\nDB_PASSWORD=" + chars(12), "password:2"},
		{"env in another alphabet", "app/.env", strings.Repeat("\xff\xc4\u212a", 40) + "\nDB_Password: " + chars(12), "password:2"},
		{"env of a file", "app/.env", "DB_PASSWORD=/run/secrets/db\nAPI_TOKEN=$TOKEN\n", ""},
		{"git", "app/.git/config", "url = https://me:" + chars(12) + "@example.com/a.git", "url-credentials:1"},
		{"git without", "app/.git/config", "url = https://me@example.com/a.git", ""},
		{"not text", "a.bin", "\x00" + privateKey(t), ""},
		{"past the first MiB", "a.log", strings.Repeat("x\n", 1<<19) + privateKey(t), ""},
		{"across what is sniffed", "a.log", strings.Repeat("x\n", 4090) + privateKey(t), "private-key:4091"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, s := range report(t, imageOf(t, v1.Config{}, nil, tarOf(t, entry{name: c.path, text: c.text}))).Secrets {
				if s.Name != c.path {
					t.Errorf("path %q", s.Name)
				}
				got = append(got, fmt.Sprintf("%s:%d", s.Kind, s.Line))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestSecretsAreToldButNotSaid is about the whole report: where, in which layer, and never
// what.
func TestSecretsAreToldButNotSaid(t *testing.T) {
	key, password := privateKey(t), chars(18)
	image := imageOf(t, v1.Config{
		Env:        []string{"PATH=/bin", "DB_PASSWORD=" + password, "TOKEN_FILE=/run/token", "GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D"},
		Labels:     map[string]string{"deploy": "glpat-" + chars(20)},
		Cmd:        []string{"serve", "--db", "postgres://me:" + password + "@db/x"},
		Entrypoint: []string{"/app"},
	}, []string{"RUN x", "RUN |1 API_TOKEN=" + password + " /bin/sh -c make"},
		tarOf(t, entry{name: "root/key.pem", text: key}, entry{name: "usr/share/doc/x/key.pem", text: key}),
		tarOf(t, entry{name: "root/.wh.key.pem"}))
	r := report(t, image)
	want := []string{
		"url-credentials in command :0",
		"password in environment DB_PASSWORD:0",
		"password in history :2",
		"gitlab-token in label deploy:0",
		"private-key in file root/key.pem:1 deleted",
		"private-key in file usr/share/doc/x/key.pem:1 sample",
	}
	if diff := cmp.Diff(want, where(r)); diff != "" {
		t.Error(diff)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{password, chars(20), strings.Split(key, "\n")[1]} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the report says a secret: %s", text)
		}
	}
}

func TestKeptSummariesHoldNoSecret(t *testing.T) {
	folder, key := t.TempDir(), privateKey(t)
	if _, err := hardening.New(folder).Report(t.Context(), imageOf(t, v1.Config{}, nil, tarOf(t, entry{name: "a", text: key}))); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range must(t)(os.ReadDir(folder + "/v" + hardening.Version)) {
		found++
		text, err := os.ReadFile(folder + "/v" + hardening.Version + "/" + file.Name())
		if err != nil || bytes.Contains(text, []byte(strings.Split(key, "\n")[1])) || !bytes.Contains(text, []byte("private-key")) {
			t.Errorf("%v: %s", err, text)
		}
	}
	if found != 1 {
		t.Errorf("%d summaries, want 1", found)
	}
}

func must(t testing.TB) func([]os.DirEntry, error) []os.DirEntry {
	return func(v []os.DirEntry, err error) []os.DirEntry {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// FuzzCollector feeds it archives: whatever they hold, it ends, and its summary can be kept.
func FuzzCollector(f *testing.F) {
	f.Add(tarOf(f, entry{name: "usr/bin/su", mode: 0o4755, text: "x"}, entry{name: "a", text: privateKey(f)}))
	f.Add(tarOf(f, entry{name: ".wh..wh..opq"}, entry{name: "bin", kind: tar.TypeSymlink, link: "usr/bin"}, entry{name: "usr/.wh.bin"}))
	f.Add(tarOf(f, entry{name: "root/.kube/config", text: "current-context: a\ntoken: " + chars(20)}, entry{name: "app/.env", text: "A_TOKEN=" + chars(9)}))
	f.Fuzz(func(t *testing.T, archive []byte) {
		collector := hardening.NewCollector("sha256:00")
		for r := tar.NewReader(bytes.NewReader(archive)); ; {
			header, err := r.Next()
			if err != nil {
				break
			}
			if collector.File(header, r) != nil {
				break
			}
		}
		summary := collector.Summary()
		config := &v1.ConfigFile{Config: v1.Config{Env: []string{string(archive)}}}
		if len(hardening.Join(config, nil, []*hardening.Summary{summary, summary}).Checks) == 0 {
			t.Error("no checks")
		}
		hash := v1.Hash{Algorithm: "sha256", Hex: "00"}
		folder := t.TempDir()
		if err := hardening.New(folder).Keep(hash, summary); err != nil {
			t.Fatal(err)
		}
		if _, ok := hardening.New(folder).Kept(hash); !ok {
			t.Error("what was kept is not given back")
		}
	})
}

// BenchmarkCollector holds reading a layer for its report against only unpacking it: a
// layer of this machine's own programs and documents.
func BenchmarkCollector(b *testing.B) {
	packed, size := systemLayer(b)
	unpack := func(each func(*tar.Header, io.Reader) error) time.Duration {
		begin := time.Now()
		plain, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			b.Fatal(err)
		}
		for r := tar.NewReader(plain); ; {
			header, err := r.Next()
			if err == io.EOF {
				return time.Since(begin)
			}
			if err != nil {
				b.Fatal(err)
			}
			if err := each(header, r); err != nil {
				b.Fatal(err)
			}
		}
	}
	var bare, full time.Duration
	for b.Loop() {
		bare += unpack(func(*tar.Header, io.Reader) error { return nil })
		collector := hardening.NewCollector("sha256:00")
		full += unpack(collector.File)
		collector.Summary()
	}
	b.ReportMetric(float64(full)/float64(bare), "times-unpacking")
	b.ReportMetric(float64(size)*float64(b.N)/full.Seconds()/1e6, "MB/s")
}

// systemLayer gives a layer of some 100 MB.
func systemLayer(b *testing.B) ([]byte, int) {
	b.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	total := 0
	for _, folder := range []string{"bin", "share/perl", "lib/python3", "share/doc", "lib/git-core"} {
		root, err := os.OpenRoot("/usr")
		if err != nil {
			b.Fatal(err)
		}
		err = walk(root, folder, func(path string, text []byte) error {
			if total+len(text) > 100e6 {
				return nil
			}
			total += len(text)
			_, err := headerOf(b, w, &tar.Header{Name: "usr/" + path, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}).Write(text)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	return out.Bytes(), total
}

// walk gives the regular files below the folder that can be read.
func walk(root *os.Root, folder string, each func(path string, text []byte) error) error {
	f, err := root.Open(folder)
	if err != nil {
		return nil // not every machine has every folder
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := folder + "/" + e.Name()
		switch {
		case e.IsDir():
			err = walk(root, path, each)
		case e.Type().IsRegular():
			var text []byte
			if text, err = root.ReadFile(path); err == nil {
				err = each(path, text)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkJoin joins the report of an image of 20 layers with 5,000 files each.
func BenchmarkJoin(b *testing.B) {
	var layers []*hardening.Summary
	for i := range 20 {
		c := hardening.NewCollector(fmt.Sprint("sha256:", i))
		for j := range 5000 {
			mode, folder := int64(0o644), "lib"
			if j%500 == 0 {
				mode, folder = 0o4755, "bin"
			}
			if err := c.File(&tar.Header{Name: fmt.Sprintf("usr/%s/%d/%d", folder, i, j), Mode: mode, Typeflag: tar.TypeReg}, strings.NewReader("")); err != nil {
				b.Fatal(err)
			}
		}
		layers = append(layers, c.Summary())
	}
	config := &v1.ConfigFile{Config: v1.Config{Env: []string{"PATH=/usr/bin"}}, History: make([]v1.History, 20)}
	for b.Loop() {
		hardening.Join(config, nil, layers)
	}
}
