package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
)

// git runs the user's git program, so that the user's credential helpers, ssh agent,
// proxies and URL rewriting hold. It never prompts and runs no hook.
type git struct {
	dir      string
	env      []string
	settings gitConfig // on top of the configuration's files; not among the arguments, which anybody may read
	progress func(done, total int)
}

// localGit is for questions about a work tree: it changes nothing and reaches no network.
func (j *job) localGit(dir string) git {
	return git{dir: dir, env: append(j.gitEnv(), "GIT_OPTIONAL_LOCKS=0", "GIT_ALLOW_PROTOCOL=none"), settings: quiet()}
}

// remoteGit is for fetching from the job's place.
func (j *job) remoteGit(ctx context.Context) (git, error) {
	g := git{dir: j.staging, env: j.gitEnv(), settings: quiet()}
	if j.login != nil {
		j.lend(&g)
	}
	if !hasAny(g.env, "GIT_SSH", "GIT_SSH_COMMAND") && g.config(ctx).last("core.sshcommand") == "" {
		g.env = append(g.env, "GIT_SSH_COMMAND=ssh -o BatchMode=yes")
	}
	if !hasAny(g.env, "GIT_HTTP_LOW_SPEED_TIME") { // else a server that falls silent holds for ever
		g.env = append(g.env, "GIT_HTTP_LOW_SPEED_LIMIT=1", "GIT_HTTP_LOW_SPEED_TIME=60")
	}
	// The user's own configuration may rewrite the URL; its transport is the user's choice.
	rewritten, err := g.output(ctx, "ls-remote", "--get-url", "--", j.at)
	if err != nil {
		return g, j.gitFailed("fetch source", err)
	}
	allowed := "https:ssh:" + j.scheme
	if scheme, _, ok := strings.Cut(string(rewritten), "://"); ok && (scheme == "http" || scheme == "file") {
		allowed += ":" + scheme
	} else if strings.HasPrefix(string(rewritten), "/") {
		allowed += ":file"
	}
	g.env = append(g.env, "GIT_ALLOW_PROTOCOL="+allowed)
	return g, nil
}

// lend gives git the login of a URL, for that host and this run, by a helper that reads it
// from its environment: arguments can be read by anybody, and helpers of the user's would
// keep it.
func (j *job) lend(g *git) {
	host := "credential." + hostOf(j.at)
	password, has := j.login.Password()
	if !has {
		g.settings = append(g.settings, setting{name: host + ".username", value: j.login.Username()})
		return
	}
	g.settings = append(g.settings, setting{name: host + ".helper", value: ""},
		setting{name: host + ".helper", value: `!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$PLIMSOLL_GIT_USERNAME" "$PLIMSOLL_GIT_PASSWORD"; }; f`})
	g.env = append(g.env, "PLIMSOLL_GIT_USERNAME="+j.login.Username(), "PLIMSOLL_GIT_PASSWORD="+password)
}

// hostOf gives "scheme://host" of a URL.
func hostOf(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host
}

// quiet are the settings that keep git from running what configuration names.
func quiet() gitConfig {
	return gitConfig{
		{name: "core.hooksPath", value: os.DevNull},
		{name: "core.fsmonitor", value: "false"},
		{name: "gc.auto", value: "0"},
		{name: "maintenance.auto", value: "false"},
	}
}

// unwanted are variables that would point git at another repository, that make it print
// what it sends, or that have it ask by a window.
var unwanted = regexp.MustCompile(`^(GIT_(DIR|WORK_TREE|INDEX_FILE|INDEX_VERSION|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|NAMESPACE|PREFIX|COMMON_DIR|CEILING_DIRECTORIES|TEMPLATE_DIR|EXTERNAL_DIFF|CURL_VERBOSE|TRACE.*|ALLOW_PROTOCOL|PROTOCOL_FROM_USER|TERMINAL_PROMPT|OPTIONAL_LOCKS|LITERAL_PATHSPECS|GLOB_PATHSPECS|NOGLOB_PATHSPECS|ICASE_PATHSPECS)|SSH_ASKPASS|SSH_ASKPASS_REQUIRE|LC_ALL|LANGUAGE)=`)

func (j *job) gitEnv() []string {
	env := j.Env
	if env == nil {
		env = os.Environ()
	}
	env = slices.DeleteFunc(slices.Clone(env), unwanted.MatchString)
	return append(env, "GIT_TERMINAL_PROMPT=0", "SSH_ASKPASS_REQUIRE=never", "GIT_LITERAL_PATHSPECS=1", "LC_ALL=C")
}

func valueIn(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

func hasAny(env []string, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return valueIn(env, name) != "" })
}

// command gives the process of a git command, in a session of its own: ssh finds no
// terminal to ask at, and all that git starts ends with it.
func (g git) command(ctx context.Context, arguments ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", arguments...)
	cmd.Dir = g.dir
	count, _ := strconv.Atoi(valueIn(g.env, "GIT_CONFIG_COUNT"))
	cmd.Env = slices.Clone(g.env)
	for i, s := range g.settings {
		n := strconv.Itoa(count + i)
		cmd.Env = append(cmd.Env, "GIT_CONFIG_KEY_"+n+"="+s.name, "GIT_CONFIG_VALUE_"+n+"="+s.value)
	}
	cmd.Env = append(cmd.Env, "GIT_CONFIG_COUNT="+strconv.Itoa(count+len(g.settings)))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// output runs git and gives what it prints. The error is a *gitError.
func (g git) output(ctx context.Context, arguments ...string) ([]byte, error) {
	cmd := g.command(ctx, arguments...)
	said := &messages{progress: g.progress}
	cmd.Stderr = said
	out, err := cmd.Output()
	return out, said.failure(ctx, arguments[0], err)
}

// pipe runs git between a writer of its input and a reader of its output.
func (g git) pipe(ctx context.Context, feed func(io.Writer) error, read func(*bufio.Reader) error, arguments ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := g.command(ctx, arguments...)
	said := &messages{}
	cmd.Stderr = said
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return said.failure(ctx, arguments[0], err)
	}
	fed := make(chan error, 1)
	go func() { fed <- errors.Join(feed(in), in.Close()) }()
	if err := read(bufio.NewReaderSize(out, 64<<10)); err != nil {
		cancel()
		<-fed
		_ = cmd.Wait() // it was killed
		return err
	}
	return errors.Join(<-fed, said.failure(ctx, arguments[0], cmd.Wait()))
}

// lines gives the output's lines; none when git fails.
func (g git) lines(ctx context.Context, arguments ...string) []string {
	out, err := g.output(ctx, arguments...)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

func (g git) line(ctx context.Context, arguments ...string) string {
	return strings.Join(g.lines(ctx, arguments...), "\n")
}

// gitError is a command of git that failed, and what it said about that.
type gitError struct {
	command string
	said    string
	err     error
}

func (e *gitError) Error() string {
	if e.said == "" {
		return "git " + e.command + ": " + e.err.Error()
	}
	return "git " + e.command + ": " + e.said
}

func (e *gitError) Unwrap() error { return e.err }

// messages takes what git writes to its standard error: progress, and what went wrong.
type messages struct {
	progress func(done, total int)
	rest     []byte
	last     []string
}

var counted = regexp.MustCompile(`^(?:Receiving|Unpacking) objects: +\d+% \((\d+)/(\d+)\)`)

func (m *messages) Write(p []byte) (int, error) {
	const longest, most = 4 << 10, 20
	m.rest = append(m.rest, p...)
	for {
		end := bytes.IndexAny(m.rest, "\r\n")
		if end < 0 && len(m.rest) < longest {
			return len(p), nil
		}
		if end < 0 {
			end = longest - 1
		}
		line := string(m.rest[:end])
		m.rest = m.rest[end+1:]
		if at := counted.FindStringSubmatch(line); at != nil {
			done, _ := strconv.Atoi(at[1])
			total, _ := strconv.Atoi(at[2])
			if m.progress != nil {
				m.progress(done, total)
			}
			continue
		}
		if m.last = append(m.last, line); len(m.last) > most {
			m.last = m.last[1:]
		}
	}
}

// failure gives the error of a command that has ended, with the lines that tell why and
// nothing in them that could be a login.
func (m *messages) failure(ctx context.Context, command string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	told := m.told()
	const most = 400
	said := visible(strings.Join(told, "; "))
	if len(said) > most {
		said = said[:most] + "…"
	}
	return &gitError{command, said, err}
}

// told gives the lines that tell why: those that git or the server marks, or, where ssh
// said why and git only that it could not read, ssh's last ones.
func (m *messages) told() []string {
	const filler = "fatal: Could not read from remote repository."
	var marked, bare []string
	for _, line := range append(slices.Clone(m.last), string(m.rest)) {
		_, after, isMarked := strings.Cut(line, ": ")
		switch {
		case line == filler:
			if len(marked) == 0 {
				return bare[max(0, len(bare)-2):]
			}
			return marked
		case isMarked && marks.MatchString(line):
			marked = append(marked, after)
		case strings.TrimSpace(line) != "":
			bare = append(bare, line)
		}
	}
	if len(marked) == 0 {
		return bare[max(0, len(bare)-2):]
	}
	return marked
}

var marks = regexp.MustCompile(`^(fatal|error|remote|ERROR): `)

var loginInText = regexp.MustCompile(`://[^/\s'"]*@`)

// visible makes a stranger's text safe to print.
func visible(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
	return strings.TrimSpace(loginInText.ReplaceAllString(text, "://"))
}

// gitFailed says of a failed git what it means to the user.
func (j *job) gitFailed(what string, err error) error {
	var failed *gitError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return fault.Newf(fault.Unavailable, what, j.shown, "git is not installed").WithHint("install git")
	case !errors.As(err, &failed):
		return err
	}
	for _, m := range meanings {
		if m.said.MatchString(failed.said) {
			return fault.New(m.kind, what, j.shown, failed).WithHint(m.hint)
		}
	}
	return fault.New(fault.Failed, what, j.shown, failed)
}

// meanings are what git, curl, ssh and servers say, by what a user can do about it.
var meanings = []struct {
	said *regexp.Regexp
	kind fault.Kind
	hint string
}{
	{regexp.MustCompile(`(?i)host key verification|REMOTE HOST IDENTIFICATION`), fault.Denied, "check the server's key and add it to your known_hosts, for instance by logging in once with ssh"},
	{regexp.MustCompile(`(?i)transport '.*' not allowed`), fault.Denied, "use https or ssh"},
	{regexp.MustCompile(`(?i)could not read (username|password)|terminal prompts disabled|authentication failed|permission denied|error: 40[13]|access denied|invalid username`), fault.Denied, "give git a login for that server: a credential helper, or an ssh key in the agent; and check the URL, for many servers hide what you may not read"},
	{regexp.MustCompile(`(?i)not found|does not appear to be a git repository|does not exist|error: 404`), fault.NotFound, "check the URL; it may also be that your login may not see it"},
	{regexp.MustCompile(`(?i)certificate|SSL|TLS`), fault.Denied, "add the server's authority to the machine's certificates, or name it in git's http.sslCAInfo"},
	{regexp.MustCompile(`(?i)could not resolve|timed out|connection (refused|reset|closed)|couldn't connect|failed to connect|unreachable|early EOF|hung up|error: 5\d\d|unable to access`), fault.Unavailable, "check that the server can be reached, and the proxy settings"},
}
