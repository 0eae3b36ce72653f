package capability

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// names are the capabilities in the order of linux/capability.h: index is number.
var names = [...]string{
	"cap_chown", "cap_dac_override", "cap_dac_read_search", "cap_fowner", "cap_fsetid",
	"cap_kill", "cap_setgid", "cap_setuid", "cap_setpcap", "cap_linux_immutable",
	"cap_net_bind_service", "cap_net_broadcast", "cap_net_admin", "cap_net_raw", "cap_ipc_lock",
	"cap_ipc_owner", "cap_sys_module", "cap_sys_rawio", "cap_sys_chroot", "cap_sys_ptrace",
	"cap_sys_pacct", "cap_sys_admin", "cap_sys_boot", "cap_sys_nice", "cap_sys_resource",
	"cap_sys_time", "cap_sys_tty_config", "cap_mknod", "cap_lease", "cap_audit_write",
	"cap_audit_control", "cap_setfcap", "cap_mac_override", "cap_mac_admin", "cap_syslog",
	"cap_wake_alarm", "cap_block_suspend", "cap_audit_read", "cap_perfmon", "cap_bpf",
	"cap_checkpoint_restore",
}

// all is every capability named above. libcap asks the running kernel instead; an image
// must come out the same on every machine.
const all = 1<<len(names) - 1

// flags is what one capability may carry.
type flags struct{ effective, inheritable, permitted uint64 }

// Parse reads the text form of cap_from_text(3): clauses between white space, each a list
// of capabilities (names in any case, numbers, or "all") and one or more of "=", "+" or
// "-" with the flags e, i and p. A text that does not parse, or that no file can carry
// because some of its capabilities are effective and others are not, is a fault of kind
// Usage.
func Parse(text string) (Set, error) {
	var f flags
	for _, clause := range strings.FieldsFunc(text, isSpace) {
		if err := f.apply(clause); err != nil {
			return Set{}, fault.New(fault.Usage, "read file capabilities", text, err).
				WithHint(`Write them as setcap does, such as "cap_net_raw+ep".`)
		}
	}
	if carried := f.permitted | f.inheritable; f.effective != 0 && carried&^f.effective != 0 {
		return Set{}, fault.Newf(fault.Usage, "read file capabilities", text,
			"a file's capabilities are effective all together or not at all").
			WithHint("Give every capability the flag e, or none.")
	}
	return Set{Permitted: f.permitted, Inheritable: f.inheritable, Effective: f.effective != 0}, nil
}

// isSpace is C's isspace in the C locale.
func isSpace(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }

func isOperator(c byte) bool { return c == '=' || c == '+' || c == '-' }

func (f *flags) apply(clause string) error {
	cut := strings.IndexAny(clause, "=+-")
	if cut < 0 {
		return fmt.Errorf("%q has no =, + or -", clause)
	}
	list, rest := clause[:cut], clause[cut:]
	mask := uint64(all)
	if list != "" {
		var err error
		if mask, err = parseList(list); err != nil {
			return err
		}
	} else if rest[0] != '=' {
		return fmt.Errorf("%q names no capability", clause)
	}
	// "=+" and "=-" after a list mean: none first, then the second operator.
	if len(rest) > 1 && rest[0] == '=' && isOperator(rest[1]) && rest[1] != '=' {
		if list == "" {
			return fmt.Errorf("%q names no capability", clause)
		}
		f.set(mask, '=', "")
		rest = rest[1:]
	}
	for first := true; rest != ""; first = false {
		op := rest[0]
		end := 1
		for end < len(rest) && !isOperator(rest[end]) {
			end++
		}
		letters := rest[1:end]
		if letters == "" && op != '=' {
			return fmt.Errorf("%q has no flag after %q", clause, string(op))
		}
		if op == '=' && !first {
			return fmt.Errorf("%q has = after another operator", clause)
		}
		if bad := strings.Trim(letters, "eip"); bad != "" {
			return fmt.Errorf("%q is not one of the flags e, i, p", bad)
		}
		f.set(mask, op, letters)
		rest = rest[end:]
	}
	return nil
}

func (f *flags) set(mask uint64, op byte, letters string) {
	for letter, field := range map[byte]*uint64{'e': &f.effective, 'i': &f.inheritable, 'p': &f.permitted} {
		switch named := strings.IndexByte(letters, letter) >= 0; {
		case named && op == '-', !named && op == '=':
			*field &^= mask
		case named:
			*field |= mask
		}
	}
}

func parseList(list string) (uint64, error) {
	var mask uint64
	for _, name := range strings.Split(list, ",") {
		bit, err := parseName(name)
		if err != nil {
			return 0, err
		}
		mask |= bit
	}
	return mask, nil
}

func parseName(name string) (uint64, error) {
	if name == "" {
		return 0, errors.New("a list has an empty name")
	}
	if strings.EqualFold(name, "all") {
		return all, nil
	}
	for n, known := range names {
		if strings.EqualFold(name, known) {
			return 1 << n, nil
		}
	}
	n, err := strconv.ParseUint(name, 0, 6)
	if err != nil || int(n) >= len(names) {
		return 0, fmt.Errorf("%q is not a capability", name)
	}
	return 1 << n, nil
}
