package judge

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/site/home"
)

// PolicyState tells whether the files of policies are the same as before.
func PolicyState(h *home.Home) string { return stateOf(h.PolicyFolder()) }

// trustState tells whether those who are trusted are the same as before.
func trustState(h *home.Home) string {
	state := stateOf(h.Path("keys"))
	for _, file := range h.TrustFiles() {
		state += fileState(file)
	}
	return state
}

// advisoryState tells whether the advisories are the same as before.
func advisoryState(h *home.Home) string {
	return fileState(h.Path("advisories.db")) + fileState(h.Path("advisories.matched"))
}

func stateOf(folder string) string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err.Error()
	}
	var state strings.Builder
	for _, e := range entries {
		state.WriteString(fileState(filepath.Join(folder, e.Name())))
	}
	return state.String()
}

func fileState(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
}

// changedFiles names the files that differ between two states, as stateOf gives them.
func changedFiles(before, now string) []string {
	was, is := strings.Split(before, "\n"), strings.Split(now, "\n")
	var names []string
	for _, line := range slices.Concat(was, is) {
		if line == "" || slices.Contains(was, line) && slices.Contains(is, line) {
			continue
		}
		path := line
		for range 2 { // the size and the time
			path = path[:max(strings.LastIndexByte(path, ' '), 0)]
		}
		names = append(names, filepath.Base(path))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
