package build

import (
	"bufio"
	"bytes"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// clientVariables are settings of a machine's own package clients that builds take over,
// so that they fetch from where their user would. None of them is a credential.
var clientVariables = append([]string{
	"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE",
	"NPM_CONFIG_REGISTRY", "npm_config_registry",
	"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST",
}, proxyVariables...)

// ClientSettings gives this machine's own settings of Go, npm, pip and proxies, from the
// environment or from the files their clients keep. Addresses with a password in them are
// left out: credentials reach a build as service bindings.
func ClientSettings(getenv func(string) string) map[string]string {
	out := map[string]string{}
	put := func(name, value string) {
		if value != "" && out[name] == "" && !hasPassword(value) {
			out[name] = value
		}
	}
	for _, name := range clientVariables {
		put(name, getenv(name))
	}
	home := getenv("HOME")
	if home == "" {
		return out
	}
	goEnv := getenv("GOENV")
	if goEnv == "" {
		goEnv = filepath.Join(configHome(getenv, home), "go", "env")
	}
	for name, value := range settingsFile(goEnv) {
		if strings.HasPrefix(name, "GO") && slices.Contains(clientVariables, name) {
			put(name, value)
		}
	}
	put("NPM_CONFIG_REGISTRY", settingsFile(filepath.Join(home, ".npmrc"))["registry"])
	for _, file := range []string{filepath.Join(configHome(getenv, home), "pip", "pip.conf"), filepath.Join(home, ".pip", "pip.conf"), "/etc/pip.conf"} {
		put("PIP_INDEX_URL", settingsFile(file)["index-url"])
	}
	return out
}

// ClientTrust gives the certificate authorities that this machine's clients trust: those of
// $SSL_CERT_FILE, else of the system; none when there are none.
func ClientTrust(getenv func(string) string) []byte {
	for _, path := range []string{getenv("SSL_CERT_FILE"), "/" + bundlePath, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"} {
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte("-----BEGIN CERTIFICATE-----")) && !bytes.Contains(text, []byte("PRIVATE KEY-----")) {
			return text
		}
	}
	return nil
}

func configHome(getenv func(string) string, home string) string {
	if dir := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(home, ".config")
}

// settingsFile reads the "name = value" lines of a client's file; one that cannot be read
// has none.
func settingsFile(path string) map[string]string {
	out := map[string]string{}
	f, err := os.Open(path)
	if err != nil {
		return out
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok {
			out[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return out
}

// hasPassword tells a list of addresses of which one holds a user's name or password.
// Where it cannot be read as an address, as without a scheme, any @ will do.
func hasPassword(value string) bool {
	for _, part := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == '|' || unicode.IsSpace(r) }) {
		address, err := url.Parse(part)
		switch {
		case err == nil && address.Host != "":
			if address.User != nil {
				return true
			}
		case strings.Contains(part, "@"):
			return true
		}
	}
	return false
}
