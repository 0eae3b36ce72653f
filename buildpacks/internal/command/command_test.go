package command

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		line string
		want Command
	}{
		{`node server.js`, Command{Args: []string{"node", "server.js"}}},
		{`exec harbour --port 8080`, Command{Args: []string{"harbour", "--port", "8080"}}},
		{`A=1 B='two words' run "an argument" plain\ one`, Command{
			Env:  []Variable{{"A", "1"}, {"B", "two words"}},
			Args: []string{"run", "an argument", "plain one"},
		}},
		{`EMPTY= run '$HOME' '*' '~'`, Command{Env: []Variable{{"EMPTY", ""}}, Args: []string{"run", "$HOME", "*", "~"}}},
		{`run --glob=\* # a comment`, Command{Args: []string{"run", "--glob=*"}}},
		{`serve -l $PORT '$HOME'`, Command{Args: []string{"serve", "-l", shellWord + "$PORT", "$HOME"}}},
		{`A="$B c" run --at=0.0.0.0:${PORT:-80}`, Command{
			Env:  []Variable{{"A", shellWord + `"$B c"`}},
			Args: []string{"run", shellWord + "--at=0.0.0.0:${PORT:-80}"},
		}},
		{`./a~b mail@host:8080/x`, Command{Args: []string{"./a~b", "mail@host:8080/x"}}},
	} {
		got, err := Parse(test.line)
		if err != nil {
			t.Errorf("%s: %v", test.line, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.line, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for line, why := range map[string]string{
		`a && b`:           "`&&`",
		`a || b`:           "`||`",
		`a | b`:            "`|`",
		`a; b`:             "several commands",
		`a &`:              "`&`",
		`! a`:              "`!`",
		`a > log`:          "`>`",
		`a ${B#x}`:         "what it makes of B",
		`a ${B:?no}`:       "what it makes of B",
		`a ${B:=1}`:        "what it makes of B",
		`a ${#B}`:          "what it makes of B",
		`a ${!B}`:          "what it makes of B",
		`a ${B[0]}`:        "what it makes of B",
		`a $1`:             "what it makes of 1",
		`a "$@"`:           "what it makes of @",
		`a ${B:-$(date)}`:  "the output of a command",
		`$A b`:             "names its program by a variable",
		`exec $A`:          "names its program by a variable",
		"a `date`":         "the output of a command",
		`a $(date)`:        "the output of a command",
		`a $((1+1))`:       "arithmetic",
		`a *.js`:           "the pattern `*`",
		`a {b,c}`:          "the pattern `{`",
		`a ~/b`:            "`~`",
		`(a)`:              "more than a program",
		`if a; then b; fi`: "more than a program",
		`a+=1 b`:           "what it assigns to a",
		`a[0]=1 b`:         "cannot be read",
		`a "b`:             "cannot be read",
		`A=1`:              "names no program",
		`exec`:             "names no program",
		` `:                "names no program",
	} {
		if got, err := Parse(line); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %v, %v, want an error with %q", line, got, err, why)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`node server.js`, `A='b c' "d"\ e`, `A=$B c "${D:-e f}"$G '$H'`, `a $"b" $'c'`, `a && $(b)`, `a {b,c} [d] ~`, `<<E`, "\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := Parse(line)
		if err == nil && (len(c.Args) == 0 || c.Args[0] == "") {
			t.Errorf("%q names no program, but is no error", line)
		}
		if err != nil {
			return
		}
		again, err := Parse(c.String())
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Errorf("%q becomes %q: %v %s", line, c, err, diff)
		}
	})
}
