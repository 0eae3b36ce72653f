package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/python/project"
)

func TestCommand(t *testing.T) {
	gunicorn := []string{"flask", "gunicorn"}
	for _, c := range []struct {
		name     string
		files    map[string]string
		required []string
		project  project.Project
		env      map[string]string
		want     string
		err      string
	}{
		{name: "a script", files: map[string]string{"app.py": "", "other.py": ""}, want: "python3 app.py"},
		{name: "main after app", files: map[string]string{"main.py": "", "server.py": ""}, want: "python3 main.py"},
		{name: "no rule applies", files: map[string]string{"thing.py": ""}},
		{name: "a module", files: map[string]string{"app.py": ""}, env: map[string]string{EnvModule: "shop.web"}, want: "python3 -m shop.web"},
		{name: "no module", env: map[string]string{EnvModule: "shop/web.py"}, err: EnvModule},
		{name: "flask", files: map[string]string{"app.py": "from flask import Flask\napp = Flask(__name__)\n"}, required: gunicorn, want: "gunicorn --access-logfile=- app:app"},
		{name: "flask without gunicorn", files: map[string]string{"app.py": "app = Flask(__name__)\n"}, required: []string{"flask"}, want: "python3 app.py"},
		{name: "wsgi.py first", files: map[string]string{"app.py": "app = 1\n", "wsgi.py": "def application(environ, start):\n"}, required: gunicorn, want: "gunicorn --access-logfile=- wsgi:application"},
		{name: "with a type", files: map[string]string{"wsgi.py": "app: Flask = make()\n"}, required: gunicorn, want: "gunicorn --access-logfile=- wsgi:app"},
		{name: "only compared", files: map[string]string{"app.py": "app == 1\n"}, required: gunicorn, want: "python3 app.py"},
		{name: "django", files: map[string]string{"manage.py": "", "shop/wsgi.py": "application = get_wsgi_application()\n"}, required: gunicorn, want: "gunicorn --access-logfile=- shop.wsgi:application"},
		{name: "named", files: map[string]string{"app.py": "app = 1\n"}, required: gunicorn, env: map[string]string{EnvWSGI: "shop.web:create()"}, want: "gunicorn --access-logfile=- shop.web:create()"},
		{name: "named, not required", env: map[string]string{EnvWSGI: "shop:app"}, err: "gunicorn is not among the requirements"},
		{name: "named badly", required: gunicorn, env: map[string]string{EnvWSGI: "--config=x"}, err: EnvWSGI},
		{name: "the only console script", project: project.Project{Name: "shop", Scripts: []string{"serve"}, Installable: true}, want: "serve"},
		{name: "the script of its name", project: project.Project{Name: "shop", Scripts: []string{"admin", "shop"}, Installable: true}, want: "shop"},
		{name: "not installed", project: project.Project{Name: "shop", Scripts: []string{"shop"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			for name, text := range c.files {
				path := filepath.Join(folder, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			app := App{Folder: folder, Requirements: c.required, Project: c.project, Getenv: func(name string) string { return c.env[name] }}
			got, err := app.Command()
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q in it", err, c.err)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
