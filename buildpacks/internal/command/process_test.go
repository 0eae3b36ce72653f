package command

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"
	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test be the program that is put into images.
func TestMain(m *testing.M) {
	Launch()
	os.Exit(m.Run())
}

func launchLayer(t *testing.T) libcnb.Layer {
	t.Helper()
	return libcnb.Layer{Path: filepath.Join(t.TempDir(), "environment"), LaunchEnvironment: libcnb.Environment{}}
}

func TestProcess(t *testing.T) {
	t.Setenv("CNB_TARGET_ARCH", "")
	for _, test := range []struct {
		line string
		want libcnb.Process
		env  libcnb.Environment
	}{
		{`A=1 run 'b c'`, libcnb.Process{Command: "run", Arguments: []string{"b c"}}, libcnb.Environment{"web/A.override": "1"}},
		{`A=1 run $PORT '$B c'`, libcnb.Process{Command: "LAYER/expand", Arguments: []string{`A=1 run $PORT '$B c'`}}, libcnb.Environment{"web/PORT.default": "8080"}},
		{`run ${PORT:-90} "$A"`, libcnb.Process{Command: "LAYER/expand", Arguments: []string{`run ${PORT:-90} "$A"`}}, libcnb.Environment{}},
	} {
		c, err := Parse(test.line)
		if err != nil {
			t.Fatal(err)
		}
		layer := launchLayer(t)
		got, err := c.Process("web", layer)
		if err != nil {
			t.Fatal(err)
		}
		test.want.Type, test.want.Direct = "web", true
		test.want.Command = strings.Replace(test.want.Command, "LAYER", layer.Path, 1)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.line, diff)
		}
		if diff := cmp.Diff(test.env, layer.LaunchEnvironment); diff != "" {
			t.Errorf("%s: %s", test.line, diff)
		}
	}
}

func TestProcessForAnotherMachine(t *testing.T) {
	t.Setenv("CNB_TARGET_ARCH", map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH])
	c, err := Parse("run $PORT")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Process("web", launchLayer(t)); err == nil || !strings.Contains(err.Error(), `"run $PORT" has variables`) {
		t.Errorf("got %v", err)
	}
}

// TestLaunch runs processes as an image does.
func TestLaunch(t *testing.T) {
	t.Setenv("CNB_TARGET_ARCH", "")
	for _, test := range []struct {
		name, line string
		env, more  []string
		want       string
		status     int
	}{
		{name: "a variable", line: `printf '%s|' $PORT "$PORT"`, env: []string{"PORT=80"}, want: "80|80|"},
		{name: "two words", line: `printf '%s|' $A "$A" x"$A"y`, env: []string{"A=1 2"}, want: "1|2|1 2|x1 2y|"},
		{name: "no value", line: `printf '%s|' a $NONE "$NONE"`, want: "a||"},
		{name: "another value instead", line: `printf '%s|' ${NONE:-b c} ${EMPTY:-$D} ${EMPTY-e}`, env: []string{"EMPTY=", "D=d"}, want: "b|c|d|"},
		{name: "values are not read again", line: `printf '%s|' $A`, env: []string{"A=*'$B'~{c,d}`e`"}, want: "*'$B'~{c,d}`e`|"},
		{name: "quoted", line: `printf '%s|' '$A' "\$A" $A`, env: []string{"A=1"}, want: "$A|$A|1|"},
		{name: "other arguments stay as they are", line: `printf '%s|' $A`, env: []string{"A=1"}, more: []string{"$A", "b c"}, want: "1|$A|b c|"},
		{name: "assignments", line: `A=$B-2 B=3 printenv A B`, env: []string{"A=0", "B=1"}, want: "1-2\n3\n"},
		{name: "no program", line: `no-such-program $A`, status: notFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := Parse(test.line)
			if err != nil {
				t.Fatal(err)
			}
			process, err := c.Process("web", launchLayer(t))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(process.Command, append(process.Arguments, test.more...)...)
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, test.env...)
			out, err := cmd.Output()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				err = nil
			}
			if err != nil || cmd.ProcessState.ExitCode() != test.status {
				t.Fatalf("status %d, %v", cmd.ProcessState.ExitCode(), err)
			}
			if string(out) != test.want {
				t.Errorf("got %q, want %q", out, test.want)
			}
		})
	}
}
