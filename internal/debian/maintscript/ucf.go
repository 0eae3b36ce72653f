package maintscript

import "strings"

// ucf reads "ucf [options] SOURCE DESTINATION" (ucf(1)): at a first installation the
// source is copied, unless something is there already. It asks nothing then.
func (w *walker) ucf(c cmd) truth {
	o := parse(joinLong(c.args[1:]), "s", "P", "src-dir", "sum-file", "dest-dir", "package", "debconf-template", "state-dir")
	if o.has("p", "purge", "n", "no-action", "h", "help") {
		return yes
	}
	if len(o.operands) != 2 {
		w.reportf(c.stmt, c.args, unread)
		return yes
	}
	source, okSource := w.absolute(o.operands[0])
	name, ok := w.absolute(o.operands[1])
	switch {
	case !okSource || !ok:
		w.reportf(c.stmt, c.args, unread)
	case isScratch(source) && w.out.paths[source] == nil, w.isComputed(source):
		w.report(c.stmt, join([]value{known("ucf"), o.operands[0], o.operands[1]}),
			"The script puts "+name+" together while it runs, and the file is not made.")
	case !isScratch(name) && w.isFileThere(name): // it keeps what is there
	case !isScratch(name):
		w.copy(source, name).KeepOld = true
	}
	return yes
}

// joinLong gives long options that are written with one dash, as getopt's -a allows, two.
func joinLong(args []value) []value {
	out := make([]value, len(args))
	for i, a := range args {
		if len(a.text) > 2 && a.text[0] == '-' && a.text[1] != '-' && strings.Contains(a.text[2:], "-") {
			a.text = "-" + a.text
		}
		out[i] = a
	}
	return out
}

// isFileThere tells whether a package or the script itself has put the file there.
func (w *walker) isFileThere(name string) bool {
	mode, found := w.lstat(name)
	return found == yes && !mode.IsDir()
}

// temporary is where scratch files lie whose content is followed, since scripts install
// them.
const temporary = "/tmp/"

// computed is the kind of a scratch file whose content is only known when the script runs.
const computed Kind = "computed"

func (w *walker) isComputed(name string) bool {
	p := w.out.paths[name]
	return p != nil && p.Kind == computed
}

// mktemp makes a scratch file or folder, of a name that no other has, and gives the name.
func (w *walker) mktemp(args []value) value {
	w.out.temporary++
	name := temporary + "maintscript." + itoa(w.out.temporary)
	o := parse(args[1:], "p", "suffix")
	if o.has("u", "dry-run") {
		return known(name)
	}
	p := w.out.path(name)
	if p.Kind, p.Mode = File, "0600"; o.has("d", "directory") {
		p.Kind, p.Mode = Directory, "0700"
	}
	return known(name)
}

// compute marks a scratch file as one whose content is not known any more.
func (w *walker) compute(name string) {
	p := w.out.path(name)
	p.Kind, p.Content, p.Source = computed, "", ""
}
