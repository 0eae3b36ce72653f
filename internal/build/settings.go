package build

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Settings are what the user says of a build beside source and builder. The zero value
// leaves all to the builder and its buildpacks.
type Settings struct {
	// Environment of detect and build, by name (CNB platform.md, "User-Provided
	// Variables"). It may hold secrets; it is never written to a disk.
	Environment map[string]string

	// Client is environment of this machine's own settings, which Environment overrides:
	// mirrors and proxies, so that build steps fetch as their user would.
	Client map[string]string

	// Buildpacks of the builder, "id" or "id@version", replace its order by one group.
	Buildpacks []string

	// Before and after every group of the builder's order; project.toml names them.
	pre, post []string

	// Bindings are given to detect and build (servicebinding.io, "Workload Projection").
	Bindings []Binding

	// Trust holds, as PEM, the certificate authorities that this machine trusts; build
	// steps fetch with these instead of the builder's own. Empty leaves the builder's.
	Trust []byte

	// Authorities are certificates, as PEM, that build steps trust, too.
	Authorities []byte

	Limits executor.Limits // of each of the phases that run foreign code

	Offline bool   // the build phase has no network
	Process string // the type of the default process
}

// Binding is a service binding: files in a folder, of which "type" says what it is.
type Binding struct {
	Name  string
	Files map[string][]byte
}

const maxBindingFile = 1 << 20 // bytes

// ReadBinding reads the folder of a binding. Its name is the folder's.
func ReadBinding(dir string) (Binding, error) {
	wrong := func(why string) error {
		return fault.Newf(fault.Usage, "read binding", dir, why).
			WithHint("a binding is a folder with a file `type` and a file for each of its keys (servicebinding.io)")
	}
	full, err := filepath.Abs(dir)
	if err != nil {
		return Binding{}, wrong(err.Error())
	}
	b := Binding{Name: filepath.Base(full), Files: map[string][]byte{}}
	if !bindingName.MatchString(b.Name) {
		return b, wrong(fmt.Sprintf("its name %q has other signs than letters, digits, - and .", b.Name))
	}
	entries, err := os.ReadDir(full)
	if err != nil {
		return b, wrong(reason(err))
	}
	for _, e := range entries {
		path := filepath.Join(full, e.Name())
		st, err := os.Stat(path) // Kubernetes projects the keys as links
		switch {
		case strings.HasPrefix(e.Name(), ".."), err == nil && st.IsDir():
			continue
		case err != nil:
			return b, wrong(reason(err))
		case st.Size() > maxBindingFile || !st.Mode().IsRegular():
			return b, wrong(fmt.Sprintf("%q is no file of at most 1 MiB", e.Name()))
		}
		if b.Files[e.Name()], err = os.ReadFile(path); err != nil {
			return b, wrong(reason(err))
		}
	}
	if len(b.Files["type"]) == 0 {
		return b, wrong("it has no file `type`")
	}
	return b, nil
}

var (
	bindingName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
)

// reason gives the innermost words of a file error, without the path.
func reason(err error) string {
	if path, ok := err.(*os.PathError); ok {
		return path.Err.Error()
	}
	return err.Error()
}

// proxyVariables are handed to the lifecycle itself, too (CNB buildpack.md, "Environment").
var proxyVariables = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"}

// proxies gives the proxy settings as environment of the lifecycle.
func (s Settings) proxies() []string {
	var out []string
	for _, name := range proxyVariables {
		if value := cmp.Or(s.Environment[name], s.Client[name]); value != "" {
			out = append(out, name+"="+value)
		}
	}
	return out
}

// CheckVariable says what is wrong with the name of an environment variable, or "".
func CheckVariable(name string) string {
	if !variableName.MatchString(name) {
		return "a variable's name has letters, digits, _, - and ., and no digit first"
	}
	return ""
}

// foreign is what the phases with foreign code have beside their folders.
type foreign struct {
	mounts []executor.Mount
	env    []string
}

// foreign gives detect and build the user's settings. All of them are files in memory.
func (j *job) foreign() (foreign, error) {
	f := foreign{mounts: []executor.Mount{
		j.mount(executor.ReadWrite, "tmp", "/tmp"), // on disk: compilers need much
	}}
	data := func(path string, content []byte) {
		f.mounts = append(f.mounts, executor.Mount{Kind: executor.Data, Target: path, Content: content})
	}
	variables := maps.Clone(j.settings.Client)
	if variables == nil {
		variables = map[string]string{}
	}
	// Buildpacks of APIs before 0.10 are not told the target by the lifecycle.
	variables["CNB_TARGET_OS"], variables["CNB_TARGET_ARCH"] = "linux", j.architecture
	maps.Copy(variables, j.overrides.variables())
	maps.Copy(variables, j.settings.Environment)
	bindings := slices.Clone(j.settings.Bindings)
	if len(j.settings.Authorities) > 0 {
		bindings = append(bindings, Binding{Name: "plimsoll-authorities", Files: map[string][]byte{
			"type": []byte("ca-certificates"), "authorities.pem": j.settings.Authorities,
		}})
	}
	trust, err := j.trust()
	if err != nil {
		return f, err
	}
	if len(trust) > 0 {
		data(trustPath, trust)
		for _, name := range trustVariables {
			if _, ok := variables[name]; !ok {
				variables[name] = trustPath
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		data(platformPath+"/env/"+name, []byte(variables[name]))
	}
	for _, b := range bindings {
		for _, key := range slices.Sorted(maps.Keys(b.Files)) {
			data(platformPath+"/bindings/"+b.Name+"/"+key, b.Files[key])
		}
	}
	if len(bindings) > 0 {
		f.env = append(f.env, "SERVICE_BINDING_ROOT="+platformPath+"/bindings")
		data(platformPath+"/env/SERVICE_BINDING_ROOT", []byte(platformPath+"/bindings"))
	}
	told, err := j.overrides.files()
	if err != nil {
		return f, err
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		data(overridesPath+"/"+name, told[name])
	}
	f.mounts = append(f.mounts, j.order.mounts...)
	return f, nil
}

// trustVariables tell clients in which file the authorities are that they trust.
var trustVariables = []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE"}

const (
	trustPath  = ourPath + "/authorities.pem"
	bundlePath = "etc/ssl/certs/ca-certificates.crt" // of Debian and its kin
)

// trust gives the authorities that build steps trust; none leaves the builder's own.
func (j *job) trust() ([]byte, error) {
	if len(j.settings.Trust) > 0 || len(j.settings.Authorities) == 0 {
		return slices.Concat(j.settings.Trust, j.settings.Authorities), nil
	}
	path := j.work.path("authorities.pem")
	found, err := extractFile(j.builder.Image, bundlePath, path)
	if err != nil {
		return nil, fault.New(fault.Failed, "read certificate authorities of builder", j.request.Builder.String(), err)
	}
	if !found {
		return j.settings.Authorities, nil
	}
	own, err := os.ReadFile(path)
	return slices.Concat(own, []byte("\n"), j.settings.Authorities), err
}
