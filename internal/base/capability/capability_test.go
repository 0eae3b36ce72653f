package capability

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// texts are read by Parse and by setcap, which must agree on meaning and on refusal.
var texts = []struct{ name, reason, text string }{
	{"ping", "what Debian's ping carries", "cap_net_raw+ep"},
	{"equals", "the spelling of getcap", "cap_net_raw=ep"},
	{"list", "several of one kind", "cap_net_admin,cap_net_raw+eip"},
	{"all", "every capability", "all=ep"},
	{"all by absence", "= with no list is all", "=p"},
	{"upper", "names have no case", "CAP_NET_RAW,Cap_Chown=p"},
	{"high", "numbers above 31 are in the second word", "cap_bpf,cap_perfmon=ep"},
	{"number", "a capability by its number", "13+ep"},
	{"hex number", "strtoul with base 0", "0xd+ep"},
	{"octal number", "strtoul with base 0", "015+ep"},
	{"two clauses", "different flags", "cap_chown=p cap_kill=i"},
	{"two clauses effective", "different flags, all effective", "cap_chown=ep cap_kill=ei"},
	{"tabs", "any white space parts clauses", "\tcap_chown=p\n cap_kill=i "},
	{"override", "a later clause changes an earlier one", "cap_chown=eip cap_chown-i"},
	{"two operators", "operators may follow each other", "cap_chown+ep-e"},
	{"clear and raise", "=+ clears first", "cap_chown=eip cap_chown=+p"},
	{"clear and drop", "=- clears first", "cap_chown=eip cap_chown=-p"},
	{"empty", "no clause at all is an empty set", ""},
	{"only equals", "= alone clears all", "cap_chown=p ="},
	{"list equals", "no flag after =", "cap_chown="},
	{"effective alone", "effective without anything to switch on", "cap_chown=e"},
	{"repeated flag", "a flag twice", "cap_chown=pp"},
	{"bad partial", "a file cannot have some effective only", "cap_chown=ep cap_kill=p"},
	{"bad name", "no such capability", "cap_fly+ep"},
	{"bad number", "beyond the 64 bits", "64+ep"},
	{"bad flag", "no such flag", "cap_chown=x"},
	{"bad no flag", "+ needs a flag", "cap_chown+"},
	{"bad no list", "+ needs a list", "+ep"},
	{"bad no list after clear", "=+ needs a list", "=+ep"},
	{"bad no operator", "a list alone", "cap_chown"},
	{"bad empty name", "a comma too many", "cap_chown,,cap_kill+p"},
	{"bad comma end", "a comma too many", "cap_chown,+p"},
	{"bad spaced operator", "no white space inside a clause", "cap_chown +p"},
	{"bad second equals", "two ways to say it", "cap_chown=p=e"},
	{"bad equals after plus", "= must come first", "cap_chown+p=e"},
	{"bad double equals", "two equal signs", "cap_chown==p"},
	{"bad prefix", "only the full name", "net_raw+ep"},
}

func TestParseAgreesWithSetcap(t *testing.T) {
	setcap := testbed.Tool(t, "setcap")
	for _, tt := range texts {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.text)
			file := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(file, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			out, real := exec.Command(setcap, tt.text, file).CombinedOutput()
			if (err == nil) != (real == nil) {
				t.Fatalf("%s: Parse(%q) error = %v, setcap: %v %s", tt.reason, tt.text, err, real, out)
			}
			if refused := strings.HasPrefix(tt.name, "bad"); refused != (err != nil) {
				t.Fatalf("%s: Parse(%q) error = %v", tt.reason, tt.text, err)
			}
			if err != nil {
				if fault.KindOf(err) != fault.Usage {
					t.Errorf("kind = %v, want Usage", fault.KindOf(err))
				}
				return
			}
			want := make([]byte, 64)
			n, err := unix.Getxattr(file, Attribute, want)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Xattr(), want[:n]) {
				t.Errorf("%s: Parse(%q) = %x, setcap wrote %x", tt.reason, tt.text, got.Xattr(), want[:n])
			}
		})
	}
}

func TestGetcapReadsOurs(t *testing.T) {
	getcap := testbed.Tool(t, "getcap")
	for _, text := range []string{"cap_net_raw=ep", "cap_net_admin,cap_net_raw=eip", "cap_perfmon,cap_bpf=p", "=ep"} {
		set, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(file, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setxattr(file, Attribute, set.Xattr(), 0); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(getcap, file).CombinedOutput()
		if err != nil {
			t.Fatalf("getcap: %v %s", err, out)
		}
		if diff := cmp.Diff(file+" "+text+"\n", string(out)); diff != "" {
			t.Errorf("getcap (-want +got):\n%s", diff)
		}
		if set.String() != text {
			t.Errorf("String() = %q, getcap says %q", set.String(), text)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		want      Set
		bad       bool
	}{
		{name: "revision 1", hex: "01000001" + "00200000" + "00000000", want: Set{Permitted: 1 << 13, Effective: true}},
		{name: "revision 2", hex: "00000002" + "00000000" + "01000000" + "80000000" + "00000000", want: Set{Permitted: 1 << 39, Inheritable: 1}},
		{name: "revision 3 of the host", hex: "01000003" + "00200000" + "00000000" + "00000000" + "00000000" + "00000000", want: Set{Permitted: 1 << 13, Effective: true}},
		{name: "revision 3 of a namespace", hex: "01000003" + "00200000" + "00000000" + "00000000" + "00000000" + "e8030000", bad: true},
		{name: "empty", bad: true},
		{name: "short", hex: "0100000200200000", bad: true},
		{name: "unknown revision", hex: "01000004" + "00200000" + "00000000" + "00000000" + "00000000", bad: true},
		{name: "unknown flag", hex: "03000002" + "00200000" + "00000000" + "00000000" + "00000000", bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(tt.hex)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(b)
			var f *fault.Error
			if tt.bad != errors.As(err, &f) {
				t.Fatalf("error = %v, want one: %v", err, tt.bad)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzParse holds that what parses survives the attribute and its own text.
func FuzzParse(f *testing.F) {
	for _, tt := range texts {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := Parse(text)
		if err != nil {
			return
		}
		back, err := Decode(set.Xattr())
		if err != nil || back != set {
			t.Fatalf("Decode(Xattr(%q)) = %+v, %v, want %+v", text, back, err, set)
		}
		again, err := Parse(set.String())
		if err != nil || again != set {
			t.Fatalf("Parse(%q) = %+v, %v, want %+v", set.String(), again, err, set)
		}
	})
}

// FuzzDecode holds that foreign bytes are read or refused, and that what is read can be
// written down and read again.
func FuzzDecode(f *testing.F) {
	f.Add(Set{Permitted: 1 << 13, Effective: true}.Xattr())
	f.Add(Set{Permitted: 1 << 40, Inheritable: 1}.Xattr())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := Decode(b)
		if err != nil {
			return
		}
		back, err := Decode(set.Xattr())
		if err != nil || back != set {
			t.Fatalf("Decode(Xattr) = %+v, %v, want %+v", back, err, set)
		}
		if set.String() == "" {
			t.Fatal("no text")
		}
	})
}
