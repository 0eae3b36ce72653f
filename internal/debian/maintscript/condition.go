package maintscript

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

// test evaluates test(1): "or" of "and" of possibly negated primaries.
func (w *walker) test(args []value) truth {
	t := tester{w: w, args: args}
	if len(args) == 0 {
		return no
	}
	result := t.or()
	if len(t.args) > 0 {
		return maybe
	}
	return result
}

type tester struct {
	w     *walker
	args  []value
	depth int
}

func (t *tester) peek(i int) string {
	if i < len(t.args) && t.args[i].known {
		return t.args[i].text
	}
	return ""
}

func (t *tester) or() truth {
	left := t.and()
	for t.peek(0) == "-o" {
		t.args = t.args[1:]
		right := t.and()
		switch {
		case left == yes || right == yes:
			left = yes
		case left == maybe || right == maybe:
			left = maybe
		}
	}
	return left
}

func (t *tester) and() truth {
	left := t.not()
	for t.peek(0) == "-a" {
		t.args = t.args[1:]
		right := t.not()
		switch {
		case left == no || right == no:
			left = no
		case left == maybe || right == maybe:
			left = maybe
		}
	}
	return left
}

func (t *tester) not() truth {
	if t.depth++; t.depth > maxDepth || len(t.args) == 0 {
		t.args = nil
		return maybe
	}
	if t.peek(0) == "!" && len(t.args) > 1 {
		t.args = t.args[1:]
		return t.not().not()
	}
	if t.peek(0) == "(" && len(t.args) > 2 {
		t.args = t.args[1:]
		result := t.or()
		if t.peek(0) != ")" {
			t.args = nil
			return maybe
		}
		t.args = t.args[1:]
		return result
	}
	return t.primary()
}

func (t *tester) primary() truth {
	if len(t.args) >= 3 {
		if compareValues := binaries[t.peek(1)]; compareValues != nil {
			a, b := t.args[0], t.args[2]
			t.args = t.args[3:]
			if !a.known || !b.known {
				return maybe
			}
			return compareValues(a.text, b.text)
		}
	}
	if op := t.peek(0); len(t.args) >= 2 && len(op) == 2 && op[0] == '-' && op != "-a" && op != "-o" {
		arg := t.args[1]
		t.args = t.args[2:]
		return t.w.unary(op, arg)
	}
	arg := t.args[0]
	t.args = t.args[1:]
	if !arg.known {
		return maybe
	}
	return when(arg.text != "")
}

var binaries = map[string]func(a, b string) truth{
	"=":   func(a, b string) truth { return when(a == b) },
	"==":  func(a, b string) truth { return when(a == b) },
	"!=":  func(a, b string) truth { return when(a != b) },
	"-eq": numeric(func(a, b int) bool { return a == b }),
	"-ne": numeric(func(a, b int) bool { return a != b }),
	"-lt": numeric(func(a, b int) bool { return a < b }),
	"-le": numeric(func(a, b int) bool { return a <= b }),
	"-gt": numeric(func(a, b int) bool { return a > b }),
	"-ge": numeric(func(a, b int) bool { return a >= b }),
	"-nt": func(_, _ string) truth { return maybe },
	"-ot": func(_, _ string) truth { return maybe },
	"-ef": func(_, _ string) truth { return maybe },
}

func numeric(holds func(a, b int) bool) func(a, b string) truth {
	return func(a, b string) truth {
		x, err1 := strconv.Atoi(a)
		y, err2 := strconv.Atoi(b)
		if err1 != nil || err2 != nil {
			return maybe
		}
		return when(holds(x, y))
	}
}

func (w *walker) unary(op string, arg value) truth {
	switch op {
	case "-n", "-z":
		if !arg.known {
			// A literal beginning is enough to know that it is not empty.
			if arg.text == "" {
				return maybe
			}
			return when(op == "-n")
		}
		return when((arg.text != "") == (op == "-n"))
	}
	if !arg.known {
		return maybe
	}
	if arg.text == "" {
		return no
	}
	name, ok := w.absolute(arg)
	if !ok {
		return maybe
	}
	return w.fileTest(op, name)
}

// runningSystem are paths that only a running machine has; an image being built has not.
var runningSystem = []string{"/run/systemd/", "/proc/", "/sys/", "/dev/", "/var/lib/dpkg/", "/run/initctl"}

func (w *walker) fileTest(op, name string) truth {
	for _, prefix := range runningSystem {
		if strings.HasPrefix(name+"/", prefix) {
			return no
		}
	}
	w.out.tested[name] = true
	mode, found := w.lstat(name)
	if found == no {
		return no
	}
	if found == maybe {
		return maybe
	}
	link := mode&fs.ModeSymlink != 0
	switch op {
	case "-L", "-h":
		return when(link)
	case "-e":
		return yes // packages ship no dangling links
	}
	if link {
		return maybe
	}
	switch op {
	case "-d":
		return when(mode.IsDir())
	case "-f":
		return when(mode.IsRegular())
	case "-x":
		return when(mode.IsDir() || mode&0o111 != 0)
	case "-r", "-w":
		return yes
	}
	return maybe
}

// lstat asks what the script has made so far, then the composed tree.
func (w *walker) lstat(name string) (fs.FileMode, truth) {
	if p := w.out.paths[name]; p != nil {
		switch p.Kind {
		case Directory:
			return fs.ModeDir | 0o755, yes
		case Symlink:
			return fs.ModeSymlink, yes
		case File, Copy, computed:
			return 0o644, yes
		}
	}
	if w.out.removed[name] {
		return 0, no
	}
	for _, suffix := range neverThere {
		if strings.HasSuffix(name, suffix) {
			return 0, no
		}
	}
	if w.in.Lstat == nil {
		return 0, maybe
	}
	mode, ok := w.in.Lstat(name)
	return mode, when(ok)
}

// absolute gives the clean absolute path that a known value names.
func (w *walker) absolute(v value) (string, bool) {
	switch {
	case !v.known || v.text == "":
		return "", false
	case strings.HasPrefix(v.text, "/"):
		return path.Clean(v.text), true
	case w.cwd.known:
		return path.Join(w.cwd.text, v.text), true
	}
	return "", false
}

// installed tells whether the composed tree has a program of that name.
func (w *walker) installed(program value) truth {
	if !program.known || w.in.Lstat == nil {
		return maybe
	}
	if strings.HasPrefix(program.text, "/") {
		_, found := w.lstat(path.Clean(program.text))
		return found
	}
	for _, dir := range []string{"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"} {
		if _, found := w.lstat(dir + program.text); found == yes {
			return yes
		}
	}
	return no
}

// compareVersions answers "dpkg --compare-versions" where there was no version before:
// the empty version is earlier than any, and for the operators with -nl later (dpkg(1)).
func compareVersions(args []value) truth {
	if len(args) != 3 || !args[0].known || !args[1].known || !args[2].known {
		return maybe
	}
	a, op, b := args[0].text, args[1].text, args[2].text
	if a != "" && a != b {
		return maybe
	}
	equal := a == b
	switch strings.TrimSuffix(op, "-nl") {
	case "lt":
		return when(!equal && op == "lt")
	case "le":
		return when(equal || op == "le")
	case "gt":
		return when(!equal && op == "gt-nl")
	case "ge":
		return when(equal || op == "ge-nl")
	case "eq":
		return when(equal)
	case "ne":
		return when(!equal)
	}
	return maybe
}
