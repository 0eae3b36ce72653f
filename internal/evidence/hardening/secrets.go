package hardening

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/veles"
	"github.com/google/osv-scalibr/veles/secrets/anthropicapikey"
	"github.com/google/osv-scalibr/veles/secrets/awsaccesskey"
	"github.com/google/osv-scalibr/veles/secrets/digitaloceanapikey"
	"github.com/google/osv-scalibr/veles/secrets/dockerhubpat"
	"github.com/google/osv-scalibr/veles/secrets/gcpapikey"
	"github.com/google/osv-scalibr/veles/secrets/gcpoauth2client"
	"github.com/google/osv-scalibr/veles/secrets/gcpsak"
	"github.com/google/osv-scalibr/veles/secrets/github"
	"github.com/google/osv-scalibr/veles/secrets/gitlabpat"
	"github.com/google/osv-scalibr/veles/secrets/hashicorpvault"
	"github.com/google/osv-scalibr/veles/secrets/herokuplatformkey"
	"github.com/google/osv-scalibr/veles/secrets/huggingfaceapikey"
	"github.com/google/osv-scalibr/veles/secrets/jwt"
	"github.com/google/osv-scalibr/veles/secrets/npmjsaccesstoken"
	"github.com/google/osv-scalibr/veles/secrets/openai"
	"github.com/google/osv-scalibr/veles/secrets/postmanapikey"
	"github.com/google/osv-scalibr/veles/secrets/privatekey"
	"github.com/google/osv-scalibr/veles/secrets/pypiapitoken"
	"github.com/google/osv-scalibr/veles/secrets/rubygemsapikey"
	"github.com/google/osv-scalibr/veles/secrets/sendgrid"
	"github.com/google/osv-scalibr/veles/secrets/slacktoken"
	"github.com/google/osv-scalibr/veles/secrets/stripeapikeys"
)

// hit is a secret in a text.
type hit struct {
	kind string
	line int // from 1
}

// secretsIn gives the secrets in the text of the file at the path.
func secretsIn(at string, text []byte) []hit {
	var hits []hit
	wanted := needles.in(text)
	for i, s := range searches {
		if !wanted.has(i) && !slices.ContainsFunc(s.files, func(name string) bool { return strings.HasSuffix("/"+at, name) }) {
			continue
		}
		for _, offset := range s.find(text) {
			hits = append(hits, hit{s.kind, 1 + bytes.Count(text[:offset], []byte("\n"))})
		}
	}
	return hits
}

// isSample says whether the path is where tests, examples and documents stand: secrets
// there usually are not secret.
func isSample(at string) bool {
	dir, name := path.Split(at)
	if strings.HasPrefix(name, "test_") || strings.Contains(name, "_test.") || strings.Contains(name, ".test.") {
		return true
	}
	for part := range strings.SplitSeq(dir, "/") {
		switch part {
		case "doc", "docs", "example", "examples", "fixture", "fixtures", "test", "testdata", "tests", "__tests__":
			return true
		}
	}
	return false
}

// search finds one kind of secret. It is tried in texts that hold one of the needles, and
// in files whose path ends in one of the names.
type search struct {
	kind    string
	needles []string
	files   []string
	find    func(text []byte) (offsets []int)
}

// searches are in the order of the bits of a set.
var searches = [...]search{
	{"private-key", []string{"PRIVATE KEY"}, nil, by(privatekey.NewDetector())},
	{"aws-access-key", []string{"AKIA", "ASIA"}, nil, except("EXAMPLE", by(awsaccesskey.NewDetector()))},
	{"gcp-service-account-key", []string{"private_key_id", "ewogICJ0"}, nil, by(gcpsak.NewDetector())},
	{"gcp-api-key", []string{"AIzaSy"}, nil, by(gcpapikey.NewDetector())},
	{"gcp-oauth-client", []string{"GOCSPX-"}, nil, by(gcpoauth2client.NewDetector())},
	{"azure-storage-key", []string{"AccountKey="}, nil, pattern(`AccountKey=[A-Za-z0-9+/]{86}==`)},
	{"github-token", []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}, nil, by(
		github.NewClassicPATDetector(), github.NewFineGrainedPATDetector(), github.NewOAuthTokenDetector(),
		github.NewAppU2SDetector(), github.NewAppS2STokenDetector(), github.NewAppRefreshTokenDetector())},
	{"gitlab-token", []string{"glpat-"}, nil, by(gitlabpat.NewDetector())},
	{"npm-token", []string{"npm_"}, nil, by(npmjsaccesstoken.NewDetector())},
	{"pypi-token", []string{"pypi-"}, nil, by(pypiapitoken.NewDetector())},
	{"rubygems-token", []string{"rubygems_"}, nil, by(rubygemsapikey.NewDetector())},
	{"docker-hub-token", []string{"dckr_pat_"}, nil, by(dockerhubpat.NewDetector())},
	{"slack-token", []string{"xapp-", "xoxe"}, nil, by(
		slacktoken.NewAppLevelTokenDetector(), slacktoken.NewAppConfigAccessTokenDetector(), slacktoken.NewAppConfigRefreshTokenDetector())},
	{"slack-token", []string{"xoxb-", "xoxp-"}, nil, pattern(`\bxox[bp]-[0-9]{10,13}-[0-9A-Za-z-]{20,}`)},
	{"stripe-key", []string{"sk_live_", "rk_live_", "whsec_"}, nil, by(
		stripeapikeys.NewSecretKeyDetector(), stripeapikeys.NewRestrictedKeyDetector(), stripeapikeys.NewWebhookSecretDetector())},
	{"sendgrid-key", []string{"SG."}, nil, by(sendgrid.NewDetector())},
	{"vault-token", []string{"hvs.", "hvb."}, nil, pattern(`\bhv[sb]\.[A-Za-z0-9_-]{24,}`)},
	{"vault-approle", nil, []string{"/.env"}, by(hashicorpvault.NewAppRoleDetector())},
	{"heroku-key", []string{"HRKU-"}, nil, by(herokuplatformkey.NewSecretKeyDetector())},
	{"digitalocean-token", []string{"dop_v1_"}, nil, by(digitaloceanapikey.NewDetector())},
	{"anthropic-key", []string{"sk-ant-"}, nil, by(anthropicapikey.NewDetector())},
	{"openai-key", []string{"T3BlbkFJ"}, nil, by(openai.NewDetector())},
	{"huggingface-token", []string{"hf_"}, nil, by(huggingfaceapikey.NewDetector())},
	{"postman-key", []string{"PMAK-"}, nil, by(postmanapikey.NewAPIKeyDetector())},
	{"jwt", []string{"eyJ"}, nil, by(jwt.NewDetector())},

	{"docker-auth", []string{`"auths"`}, []string{"/.dockercfg"}, pattern(`"(?:auth|identitytoken|registrytoken|password)"\s*:\s*"[^"\s]{8,}"`)},
	{"kubeconfig", []string{"client-key-data"}, nil, pattern(`client-key-data"?\s*:\s*"?[A-Za-z0-9+/=]{40,}`)},
	{"kubeconfig", []string{"current-context"}, nil, pattern(`(?m)^[\s-]*"?(?:token|password)"?\s*:\s*"?[^\s"]{8,}`)},
	{"npm-auth", []string{":_authToken"}, []string{"npmrc"}, pattern(`(?m)^[^#;\n]*_(?:auth|authToken|password)\s*=\s*"?[^\s"$]{8,}`)},
	{"pypi-password", nil, []string{"/.pypirc"}, pattern(`(?m)^\s*password\s*[=:]\s*[^\s]+`)},
	{"netrc-password", nil, []string{"/.netrc", "/_netrc"}, pattern(`\bpassword\s+\S+`)},
	{"pgpass-password", nil, []string{"/.pgpass"}, pattern(`(?m)^[^#\n:]*:[^\n:]*:[^\n:]*:[^\n:]*:[^\n]+`)},
	{"password-hash", nil, []string{"/etc/shadow", "/etc/gshadow", "/.htpasswd"}, pattern(`(?m)^[^:\n]+:\$[0-9a-z]+\$`)},
	{"url-credentials", nil, []string{"/.git-credentials", "/.git/config", "/pip.conf", "/.yarnrc", "/.condarc", "/.env", ".list", ".sources"}, inURL},
	{"password", nil, []string{"/.env"}, assigned},
}

// by gives the offsets that detectors find, and leaves what they find.
func by(detectors ...veles.Detector) func([]byte) []int {
	return func(text []byte) []int {
		var offsets []int
		for _, d := range detectors {
			_, at := d.Detect(text)
			offsets = append(offsets, at...)
		}
		return offsets
	}
}

func pattern(expression string) func([]byte) []int {
	re := regexp.MustCompile(expression)
	return func(text []byte) []int {
		var offsets []int
		for _, at := range re.FindAllIndex(text, -1) {
			// A pattern may begin with the space before what it is about.
			offsets = append(offsets, at[1]-1)
		}
		return offsets
	}
}

// except leaves out secrets in whose first 40 bytes the word stands.
func except(word string, find func([]byte) []int) func([]byte) []int {
	return func(text []byte) []int {
		return slices.DeleteFunc(find(text), func(at int) bool {
			return bytes.Contains(text[at:min(at+40, len(text))], []byte(word))
		})
	}
}

// inURL finds addresses with a password in them.
func inURL(text []byte) []int {
	if !bytes.Contains(text, []byte("://")) {
		return nil
	}
	return address(text)
}

var address = pattern(`\b[a-z][a-z0-9+.-]*://[^\s/:@"'<>$]+:[^\s/@"'<>${]{3,}@[^\s]`)

// assignment is of a variable whose name ends in what says that it holds a secret.
var assignment = regexp.MustCompile(`(?:password|passwd|passphrase|secret|secret_key|token|api_?key|access_?key|private_key|credentials)["']?\s*[=:]\s*("[^"\n]*"|'[^'\n]*'|[^\s"';&|]*)`)

// assigned gives the offsets of values that such variables are given. A number, a switch,
// a path, another variable is no secret.
func assigned(text []byte) []int {
	if !bytes.ContainsAny(text, "=:") {
		return nil
	}
	text = lower(text) // quicker than an expression for both cases
	for _, part := range []string{"pass", "secret", "token", "key", "credentials"} {
		if bytes.Contains(text, []byte(part)) {
			return assignments(text)
		}
	}
	return nil
}

// lower gives the text with ASCII letters in lower case, and each byte where it was.
func lower(text []byte) []byte {
	out := bytes.Clone(text)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}

func assignments(text []byte) []int {
	var offsets []int
	for _, at := range assignment.FindAllSubmatchIndex(text, -1) {
		value := strings.Trim(string(text[at[2]:at[3]]), `"'`)
		if len(value) >= 4 && !strings.ContainsAny(value[:1], "$/<{%*.") && !plainWord.MatchString(value) {
			offsets = append(offsets, at[2])
		}
	}
	return offsets
}

var plainWord = regexp.MustCompile(`^(?:true|false|none|null|required|optional|[0-9]{1,5}|changeme)$`)
