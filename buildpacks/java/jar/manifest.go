// Package jar takes Java archives and gives what they say of themselves, and makes one from
// a folder of classes.
package jar

import (
	"strings"
)

// Manifest is the main section of a manifest: names in lower case
// (https://docs.oracle.com/en/java/javase/21/docs/specs/jar/jar.html).
type Manifest map[string]string

// ParseManifest reads the main section, with continued lines joined.
func ParseManifest(text string) Manifest {
	m := Manifest{}
	var last string
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if more, ok := strings.CutPrefix(line, " "); ok {
			if last != "" {
				m[last] += more
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if last = ""; ok {
			last = strings.ToLower(strings.TrimSpace(name))
			m[last] = strings.TrimSpace(value)
		}
	}
	return m
}

// MainClass gives the class that `java -jar` starts, or "".
func (m Manifest) MainClass() string { return m["main-class"] }
