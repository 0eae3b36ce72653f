package bill

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"plimsoll.dev/plimsoll/artifact"
)

// MaxEntries bounds the entries of a list in a bill that is read.
const MaxEntries = 200_000

// Each calls read with the entries of the list that the object in text has under the key,
// one after the other: decoded at once, a list of empty ones would take a hundred times its
// size in memory.
func Each(text []byte, key string, read func(json.RawMessage) error) error {
	in := json.NewDecoder(bytes.NewReader(text))
	if err := expect(in, '{'); err != nil {
		return err
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return err
		}
		if name != key {
			var other json.RawMessage
			if err := in.Decode(&other); err != nil {
				return err
			}
			continue
		}
		if err := list(in, read); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return expect(in, '}')
}

func list(in *json.Decoder, read func(json.RawMessage) error) error {
	if err := expect(in, '['); err != nil {
		return err
	}
	for n := 0; in.More(); n++ {
		if n == MaxEntries {
			return fmt.Errorf("there are more than %d", MaxEntries)
		}
		var raw json.RawMessage
		if err := in.Decode(&raw); err != nil {
			return err
		}
		if err := read(raw); err != nil {
			return err
		}
	}
	return expect(in, ']')
}

// expect reads one delimiter.
func expect(in *json.Decoder, want json.Delim) error {
	got, err := in.Token()
	if err == nil && got != want {
		err = fmt.Errorf("want %s, got %q", want, fmt.Sprint(got))
	}
	return err
}

// Sorted gives the packages by their URL, each once.
func Sorted(all []artifact.Package) []artifact.Package {
	type named struct {
		url string
		pkg artifact.Package
	}
	list := make([]named, len(all))
	for i, p := range all {
		list[i] = named{p.PURL(), p}
	}
	slices.SortStableFunc(list, func(a, b named) int { return cmp.Compare(a.url, b.url) })
	list = slices.CompactFunc(list, func(a, b named) bool { return a.url == b.url })
	out := make([]artifact.Package, len(list))
	for i, n := range list {
		out[i] = n.pkg
	}
	return out
}
