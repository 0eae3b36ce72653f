package executor

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// MaxID is the highest uid and gid a step may have.
const MaxID = 65534

var diffID = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Check says what is wrong with a step before anything is done for it: a *fault.Error of
// kind Usage, or nil. Adapters call it first.
func Check(s Step) error {
	for _, why := range []string{wrongRoot(s), wrongCommand(s), wrongUser(s), wrongLimits(s.Limits)} {
		if why != "" {
			return fault.Newf(fault.Usage, "run step", name(s), why)
		}
	}
	seen := map[string]bool{}
	for _, m := range s.Mounts {
		why := wrongMount(m)
		if why == "" && seen[path.Clean(m.Target)] {
			why = "is mounted on twice"
		}
		if why != "" {
			return fault.Newf(fault.Usage, "run step", name(s), fmt.Sprintf("mount %q %s", m.Target, why))
		}
		seen[path.Clean(m.Target)] = true
	}
	return nil
}

func wrongRoot(s Step) string {
	if len(s.Layers) == 0 {
		return "there are no layers to run in"
	}
	for _, l := range s.Layers {
		if !diffID.MatchString(l.DiffID) {
			return fmt.Sprintf("layer %q is not named by a sha256 digest", l.DiffID)
		}
		if l.Open == nil {
			return fmt.Sprintf("layer %q cannot be opened", l.DiffID)
		}
	}
	return ""
}

func wrongCommand(s Step) string {
	if len(s.Command) == 0 || s.Command[0] == "" {
		return "there is no command"
	}
	for _, arg := range s.Command {
		if strings.ContainsRune(arg, 0) {
			return "an argument holds a NUL"
		}
	}
	seen := map[string]bool{}
	for _, e := range s.Env {
		key, _, ok := strings.Cut(e, "=")
		switch {
		case !ok || key == "" || strings.ContainsRune(e, 0):
			return fmt.Sprintf("environment variable %q is not NAME=value", key)
		case seen[key]:
			return fmt.Sprintf("environment variable %q is given twice", key)
		}
		seen[key] = true
	}
	if s.Dir != "" && (!path.IsAbs(s.Dir) || strings.ContainsRune(s.Dir, 0)) {
		return fmt.Sprintf("working directory %q is not an absolute path", s.Dir)
	}
	return ""
}

func wrongUser(s Step) string {
	if s.UID > MaxID || s.GID > MaxID {
		return fmt.Sprintf("uid %d and gid %d are not both between 0 and %d", s.UID, s.GID, MaxID)
	}
	return ""
}

func wrongLimits(l Limits) string {
	for _, n := range []int64{l.MilliCPU, l.Memory, l.Pids, int64(l.Wall)} {
		if n < 0 {
			return "a limit is negative"
		}
	}
	if l.MilliCPU > math.MaxInt32 {
		return "the processor limit is out of range"
	}
	return ""
}

func wrongMount(m Mount) string {
	switch {
	case !path.IsAbs(m.Target) || strings.ContainsRune(m.Target, 0):
		return "is not an absolute path"
	case path.Clean(m.Target) == "/":
		return "would hide the root filesystem"
	case m.Kind == ReadOnly || m.Kind == ReadWrite:
		if !path.IsAbs(m.Source) || strings.ContainsRune(m.Source, 0) {
			return fmt.Sprintf("has a source %q that is not an absolute path", m.Source)
		}
	case m.Kind == Tmpfs || m.Kind == Data:
		if m.Source != "" {
			return "is no folder of the machine and takes no source"
		}
		if m.Size < 0 {
			return "has a negative size"
		}
	default:
		return fmt.Sprintf("has the unknown kind %d", m.Kind)
	}
	return ""
}

func name(s Step) string {
	if len(s.Command) == 0 {
		return ""
	}
	return path.Base(s.Command[0])
}
