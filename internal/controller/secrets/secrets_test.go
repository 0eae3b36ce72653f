package secrets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/fault"
)

// planted stands in every secret of the test: wherever it turns up, one has leaked.
const planted = "PLANTED-tea-for-two"

func object(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// shop makes two namespaces: "shop" whose accounts list some secrets, and "other" with its own.
func shop(t *testing.T) *bed.Bed {
	b := bed.New(t)
	for _, name := range []string{"shop", "other"} {
		b.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		b.Create(t, &corev1.Secret{ObjectMeta: object(name, "token"), Data: map[string][]byte{"key": []byte(planted + name)}})
	}
	docker := `{"auths":{"registry.example.com/team":{"auth":"dXNlcjpQTEFOVEVELXRlYS1mb3ItdHdv"},"https://index.example.org/v1/":{"username":"u","password":"` + planted + `"}}}`
	b.Create(t, &corev1.Secret{ObjectMeta: object("shop", "pull"), Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{".dockerconfigjson": []byte(docker)}})
	git := object("shop", "git")
	git.Annotations = map[string]string{AnnotationGit: "https://git.example.com"}
	b.Create(t, &corev1.Secret{ObjectMeta: git, Type: corev1.SecretTypeBasicAuth, Data: map[string][]byte{"username": []byte("u"), "password": []byte(planted)}})
	ssh := object("shop", "ssh")
	ssh.Annotations = map[string]string{AnnotationGit: "git@git.example.com"}
	b.Create(t, &corev1.Secret{ObjectMeta: ssh, Type: corev1.SecretTypeSSHAuth, Data: map[string][]byte{"ssh-privatekey": []byte("line1" + planted + "\nline2" + planted)}})
	b.Create(t, &corev1.Secret{ObjectMeta: object("shop", "database"), Type: "servicebinding.io/postgresql", Data: map[string][]byte{"password": []byte(planted)}})
	b.Create(t, &corev1.Secret{ObjectMeta: object("shop", "untyped"), Data: map[string][]byte{"password": []byte(planted)}})
	b.Create(t, &corev1.Secret{ObjectMeta: object("shop", "unlisted"), Data: map[string][]byte{"key": []byte(planted)}})
	b.Create(t, &corev1.ConfigMap{ObjectMeta: object("shop", "config"), Data: map[string]string{"level": "debug"}})
	b.Create(t, &corev1.ServiceAccount{
		ObjectMeta:       object("shop", "builds"),
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}, {Name: "gone"}},
		Secrets: []corev1.ObjectReference{
			{Name: "token"}, {Name: "git"}, {Name: "ssh"}, {Name: "database"}, {Name: "untyped"},
			{Name: "stolen", Namespace: "other"},
		},
	})
	b.Create(t, &corev1.Secret{ObjectMeta: object("other", "stolen"), Data: map[string][]byte{"key": []byte(planted)}})
	broken := object("shop", "broken")
	b.Create(t, &corev1.Secret{ObjectMeta: broken, Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{".dockercfg": []byte(`{"r":{"auth":"` + planted + `"}}`)}})
	b.Create(t, &corev1.ServiceAccount{ObjectMeta: object("shop", "broken"), ImagePullSecrets: []corev1.LocalObjectReference{{Name: "broken"}}})
	return b
}

func secretKey(variable, secret, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key}}}
}

func optional(v corev1.EnvVar) corev1.EnvVar {
	v.ValueFrom.SecretKeyRef.Optional = new(true)
	return v
}

func TestResolve(t *testing.T) {
	b := shop(t)
	for _, test := range []struct {
		name     string
		account  string // default: builds
		env      []corev1.EnvVar
		bindings []string

		want map[string]string // environment
		kind fault.Kind        // of the error, if fails
		fail bool
	}{
		{name: "nothing is asked for"},
		{name: "a plain value", env: []corev1.EnvVar{{Name: "A", Value: "b"}}, want: map[string]string{"A": "b"}},
		{name: "a secret that is listed", env: []corev1.EnvVar{secretKey("A", "token", "key")}, want: map[string]string{"A": planted + "shop"}},
		{
			name: "a config map needs no listing", want: map[string]string{"A": "debug"},
			env: []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "config"}, Key: "level"}}}},
		},
		{name: "a secret that nobody lists", env: []corev1.EnvVar{secretKey("A", "unlisted", "key")}, fail: true, kind: fault.Denied},
		{name: "not even an optional one", env: []corev1.EnvVar{optional(secretKey("A", "unlisted", "key"))}, fail: true, kind: fault.Denied},
		{name: "a listing of another namespace's secret means this one's", env: []corev1.EnvVar{secretKey("A", "stolen", "key")}, fail: true, kind: fault.NotFound},
		{name: "a key that is not there", env: []corev1.EnvVar{secretKey("A", "token", "nokey")}, fail: true, kind: fault.NotFound},
		{name: "an optional key that is not there", env: []corev1.EnvVar{optional(secretKey("A", "token", "nokey"))}, want: map[string]string{}},
		{
			name: "what only pods have", fail: true, kind: fault.Usage,
			env: []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
		},
		{name: "a binding", bindings: []string{"database"}},
		{name: "a binding that nobody lists", bindings: []string{"unlisted"}, fail: true, kind: fault.Denied},
		{name: "a binding without a type", bindings: []string{"untyped"}, fail: true, kind: fault.Usage},
		{name: "an account that is not there", account: "nobody", fail: true, kind: fault.NotFound},
		{name: "an account that lists nothing", account: "default", env: []corev1.EnvVar{secretKey("A", "token", "key")}, fail: true, kind: fault.Denied},
		{name: "a login that cannot be read", account: "broken", fail: true, kind: fault.Usage},
	} {
		t.Run(test.name, func(t *testing.T) {
			image := &v1alpha1.Image{ObjectMeta: object("shop", "app")}
			image.Spec.ServiceAccountName = "builds"
			if test.account != "" {
				image.Spec.ServiceAccountName = test.account
			}
			image.Spec.Build.Env = test.env
			for _, name := range test.bindings {
				image.Spec.Build.Bindings = append(image.Spec.Build.Bindings, v1alpha1.LocalReference{Name: name})
			}
			got, err := Resolve(t.Context(), b.Client, image)
			if test.fail {
				if err == nil || fault.KindOf(err) != test.kind {
					t.Fatalf("got %v, want an error of kind %v", err, test.kind)
				}
				if text := fmt.Sprintf("%v %+v %s", err, err, fault.HintOf(err)); strings.Contains(text, planted) {
					t.Errorf("the error tells a secret: %s", text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range test.want {
				if string(got.Environment[name]) != want {
					t.Errorf("%s is %q, want %q", name, string(got.Environment[name]), want)
				}
			}
			if len(got.Environment) != len(test.want) {
				t.Errorf("%d variables, want %d", len(got.Environment), len(test.want))
			}
			for i, name := range test.bindings {
				if b := got.Bindings[i]; b.Name != name || string(b.Files["type"]) != "postgresql" || string(b.Files["password"]) != planted {
					t.Errorf("the binding is %q with %d files", b.Name, len(b.Files))
				}
			}
		})
	}
	t.Run("nothing prints itself", func(t *testing.T) { printsNothing(t, b) })
}

// printsNothing holds everything that is resolved against every way to print it.
func printsNothing(t *testing.T, b *bed.Bed) {
	image := &v1alpha1.Image{ObjectMeta: object("shop", "app")}
	image.Spec.ServiceAccountName = "builds"
	image.Spec.Build.Env = []corev1.EnvVar{secretKey("A", "token", "key")}
	image.Spec.Build.Bindings = []v1alpha1.LocalReference{{Name: "database"}}
	got, err := Resolve(t.Context(), b.Client, image)
	if err != nil {
		t.Fatal(err)
	}
	if login, ok := got.Registry("registry.example.com", "team/shop"); !ok || string(login.Password) != planted {
		t.Error("the registry's login is not there")
	}
	if login, ok := got.ForGit("https://git.example.com/team/shop.git"); !ok || string(login.Password) != planted {
		t.Error("git's login is not there")
	}
	var printed bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&printed, verb, got)
		fmt.Fprintf(&printed, verb, &got)
		fmt.Fprintf(&printed, verb, got.Environment["A"])
	}
	text, err := json.Marshal(got)
	printed.Write(text)
	fmt.Fprint(&printed, err, errors.New(got.Environment["A"].String()))
	slog.New(slog.NewJSONHandler(&printed, nil)).Info("resolved", "all", got, "one", got.Environment["A"], "logins", got.Git)
	slog.New(slog.NewTextHandler(&printed, nil)).Info("resolved", "all", got, "one", got.Environment["A"], "logins", got.Git)
	for _, form := range []string{planted, fmt.Sprintf("%x", planted), "PLANTED"} {
		if strings.Contains(printed.String(), form) {
			t.Errorf("it prints %q", form)
		}
	}
	redacted := got.Redactor().Text("a " + planted + "shop b user:" + planted + " c dXNlcjpQTEFOVEVELXRlYS1mb3ItdHdv d line1" + planted + " e UExBTlRFRC10ZWEtZm9yLXR3bw==")
	if strings.Contains(redacted, "PLANTED") || redacted != "a *** b *** c *** d *** e ***" {
		t.Errorf("redacted is %q", redacted)
	}
}

func TestForGitSendsNothingToOthers(t *testing.T) {
	logins := Logins{Git: []GitLogin{
		{URL: "https://git.example.com", Username: "all"},
		{URL: "https://git.example.com/team", Username: "team"},
		{URL: "git@git.example.com", Username: "ssh"},
		{URL: "ssh://git@ssh.example.com:2222/team", Username: "port"},
		{URL: "http://plain.example.com", Username: "plain"},
		{URL: "not a url", Username: "nonsense"},
	}}
	for location, want := range map[string]string{
		"https://git.example.com/shop.git":         "all",
		"https://GIT.example.com:443/shop.git":     "all",
		"https://git.example.com/team/shop.git":    "team",
		"https://git.example.com/team":             "team",
		"https://git.example.com/teamwork/x.git":   "all",
		"git@git.example.com:team/shop.git":        "ssh",
		"ssh://git@git.example.com/team/shop.git":  "ssh",
		"ssh://git@ssh.example.com:2222/team/x":    "port",
		"ssh://git@ssh.example.com/team/x":         "",
		"http://git.example.com/shop.git":          "",
		"https://plain.example.com/shop.git":       "",
		"http://plain.example.com/shop.git":        "plain",
		"https://git.example.com.evil.org/x":       "",
		"https://git.example.com@evil.org/x":       "",
		"https://evil.org/https://git.example.com": "",
		"https://git.example.com:8443/shop.git":    "",
		"git@git.example.com.evil.org:x":           "",
		"file:///srv/git":                          "",
		"not a url":                                "",
		"":                                         "",
	} {
		got, ok := logins.ForGit(location)
		if got.Username != want || ok != (want != "") {
			t.Errorf("%s gets %q, want %q", location, got.Username, want)
		}
	}
}

func TestRegistry(t *testing.T) {
	logins := Logins{Registries: []RegistryLogin{
		{Registry: "registry.example.com", Username: "all"},
		{Registry: "registry.example.com", Path: "team", Username: "team"},
		{Registry: "only.example.com", Path: "team", Username: "only"},
	}}
	for _, test := range []struct{ host, repository, want string }{
		{"registry.example.com", "shop", "all"},
		{"Registry.example.com", "team/shop", "team"},
		{"registry.example.com", "teamwork/shop", "all"},
		{"only.example.com", "team/a", "only"},
		{"only.example.com", "b", ""},
		{"registry.example.com:5000", "shop", ""},
	} {
		if got, _ := logins.Registry(test.host, test.repository); got.Username != test.want {
			t.Errorf("%s/%s gets %q, want %q", test.host, test.repository, got.Username, test.want)
		}
	}
}

// TestWriterHidesWhateverTheCuts writes a text in random pieces.
func TestWriterHidesWhateverTheCuts(t *testing.T) {
	r := Resolved{Hide: []Hidden{planted, "another-secret", Hidden("key\nof several\nlines-long")}}.Redactor()
	text := strings.Repeat("x"+planted+"y\nanother-secret", 200) + "\nof several\n" + strings.Repeat("z", 3*mostHeld) + planted + strings.Repeat("z", 3*mostHeld) + planted
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var out bytes.Buffer
		w := r.Writer(&out)
		for rest := text; rest != ""; {
			n := min(len(rest), 1+random.IntN(5000))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r.Text(text), out.String()); diff != "" || strings.Contains(out.String(), "PLANTED") {
			t.Fatalf("(-want +got):\n%.2000s", diff)
		}
	}
}

// FuzzParseDocker holds that no config.json breaks the parser, or gives a login for no registry.
func FuzzParseDocker(f *testing.F) {
	f.Add([]byte(`{"auths":{"registry.example.com":{"auth":"dTpw"}}}`))
	f.Add([]byte(`{"auths":{"https://index.example.org/v1/":{"username":"u","password":"p"}}}`))
	f.Add([]byte(`{"auths":{"":{}},"credHelpers":{"a":"b"}}`))
	f.Add([]byte(`{"auths":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		logins, err := parseDocker(text)
		for _, l := range logins {
			if err != nil || l.Registry == "" || strings.Contains(l.Registry, "/") {
				t.Errorf("%q gives %q, %v", text, l.Registry, err)
			}
		}
	})
}

// FuzzForGit holds that a login goes to its own host alone.
func FuzzForGit(f *testing.F) {
	for _, seed := range []string{"https://git.example.com/x", "git@git.example.com:x", "https://git.example.com@evil.org", "ssh://git.example.com", "https://evil.org#@git.example.com/", "https://evil.org\\@git.example.com"} {
		f.Add(seed)
	}
	logins := Logins{Git: []GitLogin{{URL: "https://git.example.com", Username: "u"}}}
	f.Fuzz(func(t *testing.T, location string) {
		if _, ok := logins.ForGit(location); !ok {
			return
		}
		rest, found := strings.CutPrefix(strings.ToLower(location), "https://")
		authority, _, _ := strings.Cut(rest, "/")
		authority, _, _ = strings.Cut(authority, "?")
		authority, _, _ = strings.Cut(authority, "#")
		host := strings.TrimSuffix(authority[strings.LastIndex(authority, "@")+1:], ":443")
		if !found || host != "git.example.com" {
			t.Errorf("%q gets the login", location)
		}
	})
}
