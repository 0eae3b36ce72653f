package license

import (
	"slices"
	"strings"
)

// debianNames are the short names of Debian's copyright files that mean exactly one entry
// of the SPDX list (copyright-format 1.0, section 7.1), in lower case.
func debianNames() map[string]string {
	return map[string]string{
		"expat": "MIT", "apache-2": "Apache-2.0", "boost-1.0": "BSL-1.0", "bsl-1.0": "BSL-1.0",
		"gpl-1": "GPL-1.0-only", "gpl-1+": "GPL-1.0-or-later",
		"gpl-2": "GPL-2.0-only", "gpl-2+": "GPL-2.0-or-later", "gpl-2.0": "GPL-2.0-only", "gpl-2.0+": "GPL-2.0-or-later",
		"gpl-3": "GPL-3.0-only", "gpl-3+": "GPL-3.0-or-later", "gpl-3.0": "GPL-3.0-only", "gpl-3.0+": "GPL-3.0-or-later",
		"lgpl-2": "LGPL-2.0-only", "lgpl-2+": "LGPL-2.0-or-later", "lgpl-2.0+": "LGPL-2.0-or-later",
		"lgpl-2.1": "LGPL-2.1-only", "lgpl-2.1+": "LGPL-2.1-or-later",
		"lgpl-3": "LGPL-3.0-only", "lgpl-3+": "LGPL-3.0-or-later",
		"agpl-3": "AGPL-3.0-only", "agpl-3+": "AGPL-3.0-or-later",
		"gfdl-1.2": "GFDL-1.2-only", "gfdl-1.2+": "GFDL-1.2-or-later",
		"gfdl-1.3": "GFDL-1.3-only", "gfdl-1.3+": "GFDL-1.3-or-later",
		"mpl-1.1": "MPL-1.1", "mpl-2.0": "MPL-2.0", "cc0": "CC0-1.0", "python-2.0": "Python-2.0",
		"zlib/libpng": "Zlib", "w3c": "W3C", "openssl": "OpenSSL", "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later",
	}
}

// debianExceptions are those that SPDX knows too, in lower case and without the last word.
func debianExceptions() map[string]string {
	return map[string]string{
		"bison": "Bison-exception-2.2", "font": "Font-exception-2.0", "libtool": "Libtool-exception",
		"classpath": "Classpath-exception-2.0", "gcc-runtime-library": "GCC-exception-3.1",
	}
}

// maxDebian bounds how many licences are kept of one copyright file.
const maxDebian = 200

// Debian gives the licences that a copyright file in machine-readable form (DEP-5,
// copyright-format 1.0) names, sorted: SPDX expressions where they mean exactly that, else
// the file's own short names. It gives none for a file in free form.
func Debian(text string) []string {
	head, rest, _ := strings.Cut(text, "\n")
	name, value, _ := strings.Cut(head, ":")
	if !strings.EqualFold(name, "Format") || !strings.Contains(value, "copyright-format") && !strings.Contains(value, "dep5") {
		return nil
	}
	names := debianNames()
	found := map[string]bool{}
	for line := range strings.Lines(rest) {
		if field, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(field, "License") {
			if short := strings.TrimSpace(value); short != "" && len(found) < maxDebian {
				found[debianExpression(short, names)] = true
			}
		}
	}
	var all []string
	for l := range found {
		all = append(all, l)
	}
	slices.Sort(all)
	return all
}

// debianExpression gives a synopsis of licences: short names joined by "and", "or" and
// commas (copyright-format 1.0, section 7.2).
func debianExpression(text string, names map[string]string) string {
	if strings.ContainsAny(text, ",|()/") {
		return Of(text) // a comma binds weaker than "and": seldom, and not worth a guess
	}
	words := strings.Fields(text)
	var out []string
	for i := 0; i < len(words); i++ {
		word := strings.ToLower(words[i])
		switch {
		case word == "and" || word == "or":
			out = append(out, strings.ToUpper(word))
		case word == "with" && i+2 < len(words) && strings.EqualFold(words[i+2], "exception"):
			exception := debianExceptions()[strings.ToLower(words[i+1])]
			if exception == "" {
				return Of(text)
			}
			out = append(out, "WITH", exception)
			i += 2
		case names[word] != "" && strings.Contains(names[word], " ") && len(words) > 1:
			out = append(out, "("+names[word]+")")
		case names[word] != "":
			out = append(out, names[word])
		default:
			out = append(out, words[i])
		}
	}
	if expression, ok := Expression(strings.Join(out, " ")); ok {
		return expression
	}
	return Of(text)
}
