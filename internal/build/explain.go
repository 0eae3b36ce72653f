package build

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Exit statuses of the lifecycle (CNB platform.md, "Exit Codes").
const (
	exitNoneDetected    = 20 // no group of buildpacks fits
	exitDetectErrors    = 21 // none fits, and one failed
	exitBuildpackFailed = 51 // a buildpack ended its build with an error
)

// explain makes any error one for users, with a hint where the disk is full.
func (p *Platform) explain(subject string, err error) error {
	known, ok := err.(*fault.Error)
	if !ok {
		known = fault.New(fault.Failed, "build", subject, err)
	}
	if fault.HintOf(err) == "" && (errors.Is(err, unix.ENOSPC) || noSpace.MatchString(err.Error())) {
		return known.WithHint(p.makeRoom())
	}
	return known
}

func (p *Platform) makeRoom() string {
	return "make room where " + p.Home + " is, or set PLIMSOLL_HOME to another disk"
}

// explain turns a phase that failed into one line and a hint.
func (j *job) explain(err error) error {
	var failed *phaseError
	if !errors.As(err, &failed) {
		return err
	}
	switch failed.result.ExitCode {
	case exitNoneDetected:
		return fault.Newf(fault.Usage, "detect", j.subject(), "no buildpack fits: "+strings.Join(wants(failed.output), "; ")).
			WithHint(j.strange() + "add what one of them wants, or choose with --buildpack; --verbose shows all they said")
	case exitDetectErrors:
		return fault.Newf(fault.Failed, "detect", j.subject(), "a buildpack failed: "+strings.Join(wants(failed.output), "; ")).
			WithHint("--verbose shows all they said")
	case exitBuildpackFailed:
		return fault.Newf(fault.Failed, "build", j.subject(), buildpackSaid(failed.output)).WithHint(j.buildHint(failed.output))
	}
	if noSpace.MatchString(failed.output) {
		return fault.Newf(fault.Failed, failed.phase, j.subject(), "no space left on device").
			WithHint(j.platform.makeRoom())
	}
	why := failed.Error()
	if said := lastError(failed.output); said != "" {
		why += ": " + said
	}
	return fault.Newf(fault.Failed, failed.phase, j.subject(), why).WithHint("run it again with --verbose to see what the lifecycle did")
}

// strangers are files of sources that need other buildpacks than ours, or another tool.
var strangers = []struct{ file, hint string }{
	{"Cargo.toml", "Cargo.toml is of Rust: --builder takes any builder of Cloud Native Buildpacks that has it; else "},
	{"Gemfile", "Gemfile is of Ruby: --builder takes any builder of Cloud Native Buildpacks that has it; else "},
	{"composer.json", "composer.json is of PHP: --builder takes any builder of Cloud Native Buildpacks that has it; else "},
	{"Dockerfile", "a Dockerfile is not built here, the source beside it is: "},
}

// strange says what the source is, if it is something that nobody here builds.
func (j *job) strange() string {
	for _, s := range strangers {
		if _, err := os.Lstat(j.work.path("workspace", s.file)); err == nil {
			return s.hint
		}
	}
	return ""
}

// subject names what is built.
func (j *job) subject() string {
	if j.architecture != machine {
		return j.request.Tag.String() + " for " + j.architecture
	}
	return j.request.Tag.String()
}

var noSpace = regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`)

// outputOf is the heading that the detector writes above what a buildpack said, and those
// that it writes after it.
var (
	outputOf = regexp.MustCompile(`^======== (?:Output|Error): (\S+?)(?:@\S+)? ========$`)
	heading  = regexp.MustCompile(`^(======== |pass: |fail: |skip: |err: )`)
	prefix   = regexp.MustCompile(`^\[detector\] `)
)

// wants gives what each buildpack that did not fit said, once each, as "id: words".
func wants(output string) []string {
	var said []string
	seen := map[string]bool{}
	id := ""
	for line := range strings.Lines(output) {
		line = plain(prefix.ReplaceAllString(line, ""))
		if m := outputOf.FindStringSubmatch(line); m != nil {
			id = m[1]
			continue
		}
		if heading.MatchString(line) {
			id = ""
			continue
		}
		if id == "" || line == "" || strings.HasPrefix(line, "Timer: ") {
			continue
		}
		if !strings.HasPrefix(line, shortID(id)+": ") {
			line = shortID(id) + ": " + line
		}
		if !seen[line] {
			seen[line] = true
			said = append(said, line)
		}
		id = "" // the first line is the answer
	}
	if len(said) == 0 {
		return []string{"none of them said why"}
	}
	return said
}

// shortID leaves out the maker: "plimsoll/go" is "go".
func shortID(id string) string { return id[strings.LastIndex(id, "/")+1:] }

// buildpackSaid gives the buildpack's last words before the lifecycle's own.
func buildpackSaid(output string) string {
	said := ""
	for line := range strings.Lines(output) {
		line = plain(line)
		if line != "" && !strings.HasPrefix(line, "ERROR: failed to build") && !strings.HasPrefix(line, "Timer: ") {
			said = line
		}
	}
	if said == "" {
		return "a buildpack failed without a word"
	}
	return said
}

// maxSaid bounds what an error tells of a line that foreign code printed, in runes.
const maxSaid = 400

var escapes = regexp.MustCompile(`\x1b\[[0-9:;<=>?]*[ -/]*[@-~]`) // ECMA-48, "Control sequences"

// plain gives what a terminal shows of a line in the end, without colours, and not too
// much of it.
func plain(line string) string {
	line = strings.TrimSpace(escapes.ReplaceAllString(line, ""))
	line = line[strings.LastIndexByte(line, '\r')+1:]
	if utf8.RuneCountInString(line) <= maxSaid {
		return line
	}
	return string([]rune(line)[:maxSaid]) + "…"
}

// lastError gives the lifecycle's own last error.
func lastError(output string) string {
	last := ""
	for line := range strings.Lines(output) {
		if _, text, ok := strings.Cut(plain(line), "ERROR: "); ok {
			last = text
		}
	}
	return last
}

var offline = regexp.MustCompile(`(?i)(no such host|network is unreachable|temporary failure in name resolution|could not resolve|EAI_AGAIN|ENOTFOUND|connection refused|server misbehaving|i/o timeout|name or service not known|proxyconnect)`)

// buildHint says what a user can do about a build that failed.
func (j *job) buildHint(output string) string {
	switch {
	case noSpace.MatchString(output):
		return j.platform.makeRoom()
	case offline.MatchString(output) && j.settings.Offline:
		return "the build has no network (--network none): vendor the dependencies, or allow it"
	case offline.MatchString(output):
		return "a server could not be reached: check the network, proxies and mirrors, then run it again"
	}
	return "mend the source: the buildpack's own lines in the log say where; nothing was pushed"
}
