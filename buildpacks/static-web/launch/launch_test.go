package launch

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	fine := func(string) error { return nil }
	refused := func(string) error { return errors.New("refused") }
	for _, c := range []struct {
		name string
		env  map[string]string
		of   Environment
		want map[string]string
		err  bool
	}{
		{
			name: "nothing said",
			of:   Environment{Listen: fine, Writeable: fine},
			want: map[string]string{"PORT": "8080", "WEB_BIND": "[::]", "WEB_ACCESS_LOG": "/dev/stderr"},
		},
		{
			name: "no IPv6, and an error output that cannot be opened again",
			of:   Environment{Listen: refused, Writeable: refused},
			want: map[string]string{"PORT": "8080", "WEB_BIND": "0.0.0.0", "WEB_ACCESS_LOG": "/dev/null"},
		},
		{
			name: "all said",
			env:  map[string]string{"PORT": "80", "WEB_BIND": "127.0.0.1", "WEB_ACCESS_LOG": "/tmp/log"},
			of:   Environment{Listen: refused, Writeable: refused},
			want: map[string]string{},
		},
		{name: "no number", env: map[string]string{"PORT": "http"}, err: true},
		{name: "no port", env: map[string]string{"PORT": "0"}, err: true},
		{name: "too large", env: map[string]string{"PORT": "65536"}, err: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.of.Getenv = func(name string) string { return c.env[name] }
			got, err := c.of.Execute()
			if (err != nil) != c.err {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEnvironmentOfThisMachine runs what an image runs: whatever it says must be true.
func TestEnvironmentOfThisMachine(t *testing.T) {
	for name := range Defaults() {
		t.Setenv(name, "")
	}
	got, err := Environment{}.Execute()
	if err != nil {
		t.Fatal(err)
	}
	if err := listen(got["WEB_BIND"] + ":0"); err != nil {
		t.Error(err)
	}
	if err := writeable(got["WEB_ACCESS_LOG"]); err != nil {
		t.Error(err)
	}
}
