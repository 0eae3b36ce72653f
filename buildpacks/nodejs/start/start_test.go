package start

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/internal/command"
	"plimsoll.dev/plimsoll/buildpacks/nodejs/manifest"
)

func app(text string, files ...string) App {
	p, err := manifest.Parse([]byte(text))
	if err != nil {
		panic(err)
	}
	return App{
		Package: p,
		Exists:  func(name string) bool { return slices.Contains(files, name) },
		Script: func(program string) (string, bool) {
			scripts := map[string]string{"next": "node_modules/next/dist/bin/next", "nodemon": ""}
			return scripts[program], scripts[program] != ""
		},
	}
}

func TestFind(t *testing.T) {
	for _, test := range []struct {
		name string
		app  App
		want string // the environment and the arguments
	}{
		{"node", app(`{"scripts": {"start": "node --enable-source-maps dist/main.js --x 'y z'"}}`), "node|--enable-source-maps|dist/main.js|--x|y z"},
		{"the start script before main", app(`{"main": "a.js", "scripts": {"start": "node b.js"}}`, "a.js"), "node|b.js"},
		{"an environment", app(`{"scripts": {"start": "MODE=prod cross-env A=1 B=2 node ."}}`), "MODE=prod|A=1|B=2|node|."},
		{"a dependency's program", app(`{"scripts": {"start": "next start -p 80"}}`), "node|node_modules/next/dist/bin/next|start|-p|80"},
		{"its path", app(`{"scripts": {"start": "./node_modules/.bin/next start"}}`), "node|node_modules/next/dist/bin/next|start"},
		{"a variable", app(`{"scripts": {"start": "next start -p ${PORT:-3000} '$x'"}}`), "node node_modules/next/dist/bin/next start -p ${PORT:-3000} '$x'"},
		{"variables in an environment", app(`{"scripts": {"start": "A=$B cross-env C=$D npm run serve -- $E", "serve": "node '$s.js'"}}`), "A=$B C=$D node '$s.js' $E"},
		{"npx", app(`{"scripts": {"start": "npx next start"}}`), "node|node_modules/next/dist/bin/next|start"},
		{"another script", app(`{"scripts": {"start": "A=1 npm run serve -- --quiet", "serve": "B=2 node s.js"}}`), "A=1|B=2|node|s.js|--quiet"},
		{"yarn's short form", app(`{"scripts": {"start": "yarn serve", "serve": "node s.js"}}`), "node|s.js"},
		{"a script file", app(`{"scripts": {"start": "./cli.mjs serve"}}`, "./cli.mjs"), "node|./cli.mjs|serve"},
		{"a compiled file", app(`{"scripts": {"start": "./bin/server"}}`, "./bin/server"), "./bin/server"},
		{"main", app(`{"main": "lib/a.js"}`, "lib/a.js", "server.js"), "node|lib/a.js"},
		{"main without its ending", app(`{"main": "lib/a"}`, "lib/a.js"), "node|lib/a.js"},
		{"main is a folder", app(`{"main": "lib"}`, "lib/index.js"), "node|lib/index.js"},
		{"server.js", app(`{}`, "server.js", "index.js"), "node|server.js"},
		{"index.js", app(`{"main": "gone.js"}`, "index.js"), "node|index.js"},
	} {
		got, err := Find(test.app)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if diff := cmp.Diff(test.want, line(got.Command)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func line(c command.Command) string {
	if c.Expands() {
		return c.String()
	}
	var parts []string
	for _, v := range c.Env {
		parts = append(parts, v.Name+"="+v.Value)
	}
	return strings.Join(append(parts, c.Args...), "|")
}

func TestFindRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		app  App
		why  string
	}{
		{"nothing", app(`{}`), "nothing says how to start"},
		{"a static site", app(`{"scripts": {"build": "vite build"}}`, "dist/index.html"), "`plimsoll build dist --buildpack plimsoll/static-web`"},
		{"a static site and its development server", app(`{"scripts": {"start": "vite"}}`, "dist/index.html"), "static site in dist"},
		{"a static site of create-react-app", app(`{}`, "build/index.html"), "static site in build"},
		{"a shell", app(`{"scripts": {"start": "prisma migrate deploy && node ."}}`), "script \"start\": \"prisma migrate deploy && node .\" needs a shell for `&&`"},
		{"npm's variables", app(`{"scripts": {"start": "node . $npm_package_config_port"}}`), "only npm sets npm_package_config_port"},
		{"a development program", app(`{"scripts": {"start": "nodemon x.js"}}`), `"nodemon" is no program of the dependencies`},
		{"no such script", app(`{"scripts": {"start": "npm run serve"}}`), `no script "serve"`},
		{"a circle", app(`{"scripts": {"start": "npm run start"}}`), "without end"},
		{"npm does something else", app(`{"scripts": {"start": "npm install"}}`), "only `npm run SCRIPT`"},
		{"npm run alone", app(`{"scripts": {"start": "npm run"}}`), "only `npm run SCRIPT`"},
		{"yarn alone", app(`{"scripts": {"start": "yarn"}}`), "only `yarn run SCRIPT`"},
		{"npx with a flag", app(`{"scripts": {"start": "npx -y next"}}`), "only `npx PROGRAM`"},
		{"cross-env alone", app(`{"scripts": {"start": "cross-env A=1"}}`), "names no program"},
	} {
		if got, err := Find(test.app); err == nil || !strings.Contains(err.Error(), test.why) {
			t.Errorf("%s: got %v, %v, want %q", test.name, got, err, test.why)
		}
	}
}

func FuzzFind(f *testing.F) {
	for _, seed := range []string{"node .", "npm run a -- b", "npx", "cross-env a=b", "yarn start", "A=1 npm start"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		a := app(`{}`)
		a.Package.Scripts = map[string]string{"start": first, "a": second}
		p, err := Find(a)
		if err == nil && (len(p.Args) == 0 || p.Args[0] == "") {
			t.Errorf("%q, %q starts nothing", first, second)
		}
	})
}
