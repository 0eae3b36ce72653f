// Package rooms takes the ROOMS file and the imports of a package and gives the imports
// that break the one direction of flow.
package rooms

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Room is one line of ROOMS.
type Room struct {
	Floor  int    // 0 is the ground; imports run downward
	Folder string // slash-separated, relative to the module's root
	Means  string // what the room takes and gives
}

// Parse reads a ROOMS file: "F<floor> <folder> <meaning>" a line, '#' for comments.
func Parse(r io.Reader) ([]Room, error) {
	var rooms []Room
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var room Room
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %d: want a floor, a folder and a meaning, got %q", n, line)
		}
		if _, err := fmt.Sscanf(fields[0], "F%d", &room.Floor); err != nil {
			return nil, fmt.Errorf("line %d: floor %q is not F and a number", n, fields[0])
		}
		room.Folder, room.Means = fields[1], strings.Join(fields[2:], " ")
		rooms = append(rooms, room)
	}
	return rooms, lines.Err()
}

// Of gives the room that holds the folder: itself or the nearest one above.
func Of(rooms []Room, folder string) (Room, bool) {
	var best Room
	found := false
	for _, r := range rooms {
		if (folder == r.Folder || strings.HasPrefix(folder, r.Folder+"/")) && len(r.Folder) >= len(best.Folder) {
			best, found = r, true
		}
	}
	return best, found
}

// Check gives one sentence, with its cure, for an import between two folders that breaks
// the flow, or "" when the import is sound.
func Check(rooms []Room, from, to string) string {
	a, ok := Of(rooms, from)
	if !ok {
		return fmt.Sprintf("%s is in no room: add its folder to ROOMS, on the floor where it belongs", from)
	}
	b, ok := Of(rooms, to)
	if !ok {
		return fmt.Sprintf("%s imports %s, which is in no room: add that folder to ROOMS", from, to)
	}
	switch {
	case a.Folder == b.Folder, a.Floor > b.Floor:
		return ""
	case a.Floor == b.Floor && a.Floor == 0:
		return "" // the ground has no rooms to keep apart: nouns and errors may use each other
	case a.Floor == b.Floor:
		return fmt.Sprintf("%s imports %s sideways on floor F%d: declare a small interface in %s and let internal/program supply it", from, to, a.Floor, a.Folder)
	}
	return fmt.Sprintf("%s (F%d) imports %s (F%d) upward: move what both need to a lower floor, or hand it down as an argument", from, a.Floor, to, b.Floor)
}
