package maintscript

import (
	"path"
	"strings"
)

// files reads the commands that make, move and own files (GNU coreutils).
func (w *walker) files(name string, c cmd) truth {
	switch name {
	case "mkdir":
		w.mkdir(c)
	case "install":
		w.install(c)
	case "ln":
		w.ln(c)
	case "cp":
		w.cp(c)
	case "mv":
		w.mv(c)
	case "touch":
		w.touch(c)
	case "rm", "rmdir":
		w.rm(c)
	case "chown", "chgrp", "chmod":
		w.own(c)
	case "sed", "tee":
		w.edit(c)
	}
	return yes
}

// each calls f for the operands that name a path of the image, and reports the others.
func (w *walker) each(c cmd, operands []value, f func(name string)) {
	for _, v := range operands {
		name, ok := w.absolute(v)
		switch {
		case !ok && isScratch(v.text):
		case !ok:
			w.reportf(c.stmt, c.args, unread)
			return
		case !isScratch(name) || w.out.paths[name] != nil:
			f(name)
		}
	}
}

func (w *walker) mkdir(c cmd) {
	o := parse(c.args[1:], "m", "mode")
	mode := o.get("m", "mode")
	if !mode.known {
		w.reportf(c.stmt, c.args, unread)
		return
	}
	w.each(c, o.operands, func(name string) { w.directory(name, "", "", mode.text) })
}

func (w *walker) directory(name, owner, group, mode string) {
	if w.isDir(name) && w.out.paths[name] == nil && owner+group+mode == "" {
		return // it is there already
	}
	p := w.out.path(name)
	p.Kind = Directory
	p.attributes(owner, group, mode)
}

func (p *Path) attributes(owner, group, mode string) {
	if owner != "" {
		p.Owner = owner
	}
	if group != "" {
		p.Group = group
	}
	if mode != "" {
		p.Mode = mode
	}
}

// install reads install(1): directories with -d, else copies.
func (w *walker) install(c cmd) {
	o := parse(c.args[1:], "m", "o", "g", "t", "S", "mode", "owner", "group", "target-directory")
	owner, group, mode := o.get("o", "owner"), o.get("g", "group"), o.get("m", "mode")
	if !allKnown(owner, group, mode) || len(o.operands) == 0 {
		w.reportf(c.stmt, c.args, unread)
		return
	}
	if o.has("d", "directory") {
		w.each(c, o.operands, func(name string) { w.directory(name, owner.text, group.text, mode.text) })
		return
	}
	if mode.text == "" {
		mode = known("0755")
	}
	w.copies(c, o, func(source, name string) {
		p := w.copy(source, name)
		p.attributes(owner.text, group.text, mode.text)
	})
}

func (w *walker) cp(c cmd) {
	o := parse(c.args[1:], "t", "target-directory", "S", "suffix")
	if o.has("r", "R", "a", "recursive", "archive") {
		if len(o.operands) != 2 || !allKnown(o.operands...) || !w.isFile(o.operands[0]) {
			if n := len(o.operands); n > 1 && isScratch(o.operands[n-1].text) {
				return
			}
			w.reportf(c.stmt, c.args, "Files are copied in a way that is not made.")
			return
		}
	}
	preserve := o.has("p", "a", "archive")
	w.copies(c, o, func(source, name string) {
		if preserve {
			w.out.path(name).Mode = ""
		}
		w.copy(source, name)
	})
}

func (w *walker) isFile(v value) bool {
	name, ok := w.absolute(v)
	if !ok {
		return false
	}
	mode, found := w.lstat(name)
	return found == yes && mode.IsRegular()
}

// copies sorts out where each of the files goes.
func (w *walker) copies(c cmd, o options, f func(source, name string)) {
	operands := o.operands
	if o.has("t", "target-directory") {
		operands = append(operands[:len(operands):len(operands)], o.get("t", "target-directory"))
	}
	if len(operands) < 2 {
		w.reportf(c.stmt, c.args, unread)
		return
	}
	last := operands[len(operands)-1]
	target, ok := w.absolute(last)
	if ok && isScratch(target) && !strings.HasPrefix(target, temporary) || !ok && isScratch(last.text) {
		return
	}
	into := len(operands) > 2 || o.has("t", "target-directory") || strings.HasSuffix(last.text, "/") || ok && w.isDir(target)
	for _, v := range operands[:len(operands)-1] {
		source, okSource := w.absolute(v)
		if !ok || !okSource {
			w.reportf(c.stmt, c.args, unread)
			return
		}
		name := target
		if into {
			name = path.Join(target, path.Base(source))
		}
		switch unknown := isScratch(source) && w.out.paths[source] == nil || w.isComputed(source); {
		case source == "/dev/null" || !unknown:
			f(source, name)
		case isScratch(name):
			w.compute(name)
		default:
			w.reportf(c.stmt, c.args, "The script copies a file that it puts together while it runs.")
			return
		}
	}
}

// copy records a copy; one of something the script has made is made again instead.
func (w *walker) copy(source, name string) *Path {
	p := w.out.path(name)
	if source == "/dev/null" {
		p.Kind, p.Content = File, ""
		return p
	}
	if made := w.out.paths[source]; made != nil && made.Kind != Existing {
		*p = *made
		p.Path = name
		return p
	}
	p.Kind, p.Source = Copy, source
	return p
}

func (w *walker) ln(c cmd) {
	o := parse(c.args[1:], "t", "target-directory", "S", "suffix")
	if !o.has("s", "symbolic") {
		w.copies(c, o, func(source, name string) { w.copy(source, name) })
		return
	}
	if len(o.operands) < 2 || o.has("t", "target-directory") || !allKnown(o.operands...) {
		w.reportf(c.stmt, c.args, unread)
		return
	}
	last := len(o.operands) - 1
	name, ok := w.absolute(o.operands[last])
	if !ok {
		w.reportf(c.stmt, c.args, unread)
		return
	}
	into := last > 1 || strings.HasSuffix(o.operands[last].text, "/") ||
		!o.has("n", "T", "no-dereference") && w.isDir(name)
	for _, v := range o.operands[:last] {
		link := name
		if into {
			link = path.Join(name, path.Base(v.text))
		}
		target := v.text
		if o.has("r", "relative") && strings.HasPrefix(target, "/") {
			target = relative(path.Dir(link), path.Clean(target))
		}
		if isScratch(link) || target == "" {
			continue
		}
		replace := w.out.removed[link] || o.has("f", "force")
		p := w.out.path(link)
		*p = Path{Path: link, Kind: Symlink, Target: target, Replace: replace, KeepOld: w.out.tested[link] && !replace}
	}
}

// relative gives the way from a directory to a path, both absolute and clean.
func relative(from, to string) string {
	a, b := strings.Split(strings.Trim(from, "/"), "/"), strings.Split(strings.Trim(to, "/"), "/")
	if from == "/" {
		a = nil
	}
	for len(a) > 0 && len(b) > 1 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	return strings.Repeat("../", len(a)) + strings.Join(b, "/")
}

// mv moves what the script has made itself; moving a package's file is not made.
func (w *walker) mv(c cmd) {
	o := parse(c.args[1:], "t", "target-directory", "S", "suffix")
	if len(o.operands) != 2 || o.has("t", "target-directory") {
		w.reportf(c.stmt, c.args, unread)
		return
	}
	from, ok1 := w.absolute(o.operands[0])
	to, ok2 := w.absolute(o.operands[1])
	made := w.out.paths[from]
	switch {
	case ok1 && ok2 && made != nil && (isScratch(to) || made.Kind != computed):
		p := *made
		w.out.remove(from)
		p.Path, p.Replace = to, p.Kind == Symlink
		*w.out.path(to) = p
	case ok2 && isScratch(to), !ok2 && isScratch(o.operands[1].text):
	case ok1 && !isScratch(from) && w.absent(from):
	default:
		w.reportf(c.stmt, c.args, "The script moves a file that it did not make, and the move is not made.")
	}
}

// absent tells whether the path is known not to be there.
func (w *walker) absent(name string) bool {
	_, found := w.lstat(name)
	return found == no
}

func (w *walker) touch(c cmd) {
	o := parse(c.args[1:], "d", "r", "t", "date", "reference")
	w.each(c, o.operands, func(name string) {
		if _, found := w.lstat(name); found == yes {
			return
		}
		p := w.out.path(name)
		if p.Kind == Existing {
			p.Kind, p.KeepOld = File, true
			w.creation(p)
		}
	})
}

// rm forgets what the script has made; there is nothing else to remove.
func (w *walker) rm(c cmd) {
	for _, v := range parse(c.args[1:]).operands {
		if name, ok := w.absolute(v); ok {
			w.out.remove(name)
			w.out.removed[name] = true
		}
	}
}

// own reads chown, chgrp and chmod.
func (w *walker) own(c cmd) {
	args := c.args[1:]
	var mode []value
	// chmod's "-x" is a mode, not an option.
	if c.args[0].text == "chmod" && len(args) > 0 && len(args[0].text) > 1 && args[0].text[0] == '-' && strings.Trim(args[0].text[1:], "rwxst") == "" {
		mode, args = args[:1], args[1:]
	}
	o := parse(args, "reference", "from")
	operands := append(mode, o.operands...)
	if len(operands) < 2 || o.has("reference") || !operands[0].known {
		w.reportf(c.stmt, c.args, unread)
		return
	}
	var owner, group, bits string
	switch spec := operands[0].text; c.args[0].text {
	case "chmod":
		bits = spec
	case "chgrp":
		group = spec
	default:
		owner, group, _ = strings.Cut(spec, ":")
		if group == "" && !strings.Contains(spec, ":") {
			owner, group, _ = strings.Cut(spec, ".")
		}
	}
	w.each(c, operands[1:], func(name string) {
		if w.absent(name) && w.out.paths[name] == nil {
			return
		}
		p := w.out.path(name)
		p.attributes(owner, group, bits)
		p.Recursive = p.Recursive || o.has("R", "recursive")
	})
}

// edit reads sed and tee, which matter when they write a file.
func (w *walker) edit(c cmd) {
	o := parse(c.args[1:], "e", "f", "expression", "file")
	switch {
	case c.args[0].text == "tee":
		w.each(c, o.operands, func(name string) {
			if isScratch(name) {
				w.compute(name)
				return
			}
			w.report(c.stmt, "tee "+name, "The script works out while it runs what it writes into this file.")
		})
	case o.has("i", "in-place"):
		operands := o.operands
		if !o.has("e", "f", "expression", "file") && len(operands) > 0 {
			operands = operands[1:]
		}
		w.each(c, operands, func(name string) {
			switch {
			case isScratch(name):
				w.compute(name)
			case !w.absent(name):
				w.reportf(c.stmt, c.args, "The script edits this file in place, and the edit is not made.")
			}
		})
	}
}
