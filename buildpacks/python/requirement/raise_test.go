package requirement

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/internal/floor"
)

func floors(major bool) []floor.Floor {
	return []floor.Floor{{Name: "fix", Ecosystem: floor.PyPI, Package: "Ropes_And.Knots", Version: "2.4.1", Major: major}}
}

func TestRaiseOne(t *testing.T) {
	for _, test := range []struct {
		asked, want string // "" for left alone
		crosses     bool
	}{
		{asked: "ropes-and-knots==2.3", want: "ropes-and-knots==2.4.1"},
		{asked: "Ropes.And_Knots [silk] (==2.3) ; python_version > '3'", want: "Ropes.And_Knots[silk]==2.4.1 ; python_version > '3'"},
		{asked: "ropes-and-knots===2.3", want: "ropes-and-knots==2.4.1"},
		{asked: "ropes-and-knots==2.4.1rc1", want: "ropes-and-knots==2.4.1"},
		{asked: "ropes-and-knots>=2,<2.4", want: "ropes-and-knots==2.4.1"},
		{asked: "ropes-and-knots<=2.4", want: "ropes-and-knots==2.4.1"},
		{asked: "ropes-and-knots<2.4.1", want: "ropes-and-knots==2.4.1"},
		{asked: "ropes-and-knots~=2.3.0", want: "ropes-and-knots==2.4.1"},
		{asked: "ropes-and-knots==2.3.*", want: "ropes-and-knots==2.4.1"},
		{asked: "ropes-and-knots==2.4.1"},
		{asked: "ropes-and-knots==2.5"},
		{asked: "ropes-and-knots<=2.4.1"},
		{asked: "ropes-and-knots~=2.3"},
		{asked: "ropes-and-knots==2.*"},
		{asked: "ropes-and-knots==2.4.*"},
		{asked: "ropes-and-knots>=1,<3"},
		{asked: "ropes-and-knots"},
		{asked: "ropes-and-knots!=2.3"},
		{asked: "ropes-and-knots @ https://example.com/ropes-2.3.zip"},
		{asked: "ropes==1.0"},
		{asked: "./ropes-and-knots"},
		{asked: "ropes-and-knots==1.9", want: "ropes-and-knots==2.4.1", crosses: true},
		{asked: "ropes-and-knots<2", want: "ropes-and-knots==2.4.1", crosses: true},
		{asked: "ropes-and-knots<2.0.0", want: "ropes-and-knots==2.4.1", crosses: true},
		{asked: "ropes-and-knots~=1.2", want: "ropes-and-knots==2.4.1", crosses: true},
	} {
		got, raised, err := RaiseOne(test.asked, floors(false))
		if test.crosses {
			if err == nil || !strings.Contains(err.Error(), "another major") {
				t.Errorf("%s: %v, want it to be another major", test.asked, err)
			}
			got, raised, err = RaiseOne(test.asked, floors(true))
		}
		if want := test.want; err != nil || (raised != nil) != (want != "") || want != "" && got != want || want == "" && got != test.asked {
			t.Errorf("%s: got %q, %+v, %v; want %q", test.asked, got, raised, err, want)
		}
	}
}

func TestRaise(t *testing.T) {
	const text = "\ufeff# locked\r\n" +
		"flask==3.0.3 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n" +
		"ropes-and-knots==2.3 ; os_name == 'posix' \\\n    --hash=sha256:cc  # why\n    # via flask\n" +
		"-c other.txt\n" +
		"ropes_and_knots==2.3"
	const want = "\ufeff# locked\r\n" +
		"flask==3.0.3 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n" +
		"ropes-and-knots==2.4.1 ; os_name == 'posix' --hash=sha256:new\n    # via flask\n" +
		"-c other.txt\n" +
		"ropes_and_knots==2.4.1\n"
	got, raised, err := Raise(text, floors(false), func(f floor.Floor) (string, error) { return "sha256:new", nil })
	if err != nil || len(raised) != 2 {
		t.Fatal(raised, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	none := errors.New("no such release")
	if _, _, err := Raise(text, floors(false), func(floor.Floor) (string, error) { return "", none }); !errors.Is(err, none) {
		t.Errorf("without a hash: %v", err)
	}
}

// FuzzRaise: what is not raised stays as it is, to the byte, and nothing is raised twice.
func FuzzRaise(f *testing.F) {
	f.Add("flask==3.0.3 \\\n  --hash=sha256:00\nropes-and-knots==1 ;x")
	f.Add("ropes-and-knots~=2.\\\n3.0\n#\\\nropes-and-knots<0\r\n")
	hash := func(floor.Floor) (string, error) { return "sha256:new", nil }
	f.Fuzz(func(t *testing.T, text string) {
		once, raised, err := Raise(text, floors(true), hash)
		if err != nil {
			return
		}
		if len(raised) == 0 && once != text {
			t.Errorf("%q became %q", text, once)
		}
		twice, again, err := Raise(once, floors(true), hash)
		if err != nil || len(again) > 0 || twice != once {
			t.Errorf("%q became %q, and then %q: %+v, %v", text, once, twice, again, err)
		}
	})
}
