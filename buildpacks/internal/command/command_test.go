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
		`serve -l $PORT`:   "the value of PORT",
		`a "${B:-1}"`:      "the value of B",
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
	for _, seed := range []string{`node server.js`, `A='b c' "d"\ e`, `a && $(b)`, `a {b,c} [d] ~`, `<<E`, "\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := Parse(line)
		if err == nil && (len(c.Args) == 0 || c.Args[0] == "") {
			t.Errorf("%q names no program, but is no error", line)
		}
	})
}
