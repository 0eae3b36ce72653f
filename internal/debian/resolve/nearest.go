package resolve

import (
	"slices"
	"strings"
)

// nearest gives up to three names of the universe that look like the one asked for.
func nearest(u Universe, name string) []string {
	l, ok := u.(lister)
	if !ok {
		return nil
	}
	type scored struct {
		name string
		far  int
	}
	most := 1 + len(name)/4
	var near []scored
	seen := make(map[string]bool)
	for n := range l.Names() {
		far := distance(name, n, most)
		longer := len(name) > 3 && strings.HasPrefix(n, name) // libssl for libssl3t64
		if (far <= most || longer) && !seen[n] {
			seen[n] = true
			near = append(near, scored{n, far})
		}
	}
	slices.SortFunc(near, func(a, b scored) int {
		if a.far != b.far {
			return a.far - b.far
		}
		if len(a.name) != len(b.name) {
			return len(a.name) - len(b.name)
		}
		return strings.Compare(a.name, b.name)
	})
	var names []string
	for _, s := range near[:min(3, len(near))] {
		names = append(names, s.name)
	}
	return names
}

// distance is the number of edits between a and b, or more than most.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal, best := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			edit := diagonal
			if a[i] != b[j] {
				edit = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], edit
			best = min(best, edit)
		}
		if best > most {
			return most + 1
		}
	}
	return row[len(b)]
}
