package inventory

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// row is a row of a table whose rows are known by what they hold; values are texts and
// byte slices, the columns after id and key.
type row struct {
	key    key
	values []any
}

func newRow(values ...any) row {
	texts := make([]string, len(values))
	for i, value := range values {
		switch value := value.(type) {
		case string:
			texts[i] = value
		case []byte:
			texts[i] = string(value)
		}
	}
	return row{keyOf(texts...), values}
}

func compareRows(a, b row) int { return bytes.Compare(a.key[:], b.key[:]) }

// intern gives the numbers of rows, and writes those that are not there yet.
func intern(ctx context.Context, tx store.Tx, table store.Table, rows []row) (map[key]int64, error) {
	slices.SortFunc(rows, compareRows)
	rows = slices.CompactFunc(rows, func(a, b row) bool { return a.key == b.key })
	keys := make([]key, len(rows))
	for i, r := range rows {
		keys[i] = r.key
	}
	numbers, err := numbersOf(ctx, tx, table.Name, keys)
	if err != nil {
		return nil, err
	}
	fresh := slices.DeleteFunc(rows, func(r row) bool { return numbers[r.key] != 0 })
	next, err := tx.Take(ctx, table.Name, len(fresh))
	if err != nil {
		return nil, err
	}
	var missing [][]any
	for i, r := range fresh {
		numbers[r.key] = next + int64(i)
		missing = append(missing, append([]any{next + int64(i), r.key[:]}, r.values...))
	}
	return numbers, tx.Insert(ctx, table, missing)
}

// numbersOf gives the numbers of those keys that a table has.
func numbersOf(ctx context.Context, tx store.Tx, table string, keys []key) (map[key]int64, error) {
	numbers := make(map[key]int64, len(keys))
	for some := range slices.Chunk(keys, 4*batch) {
		blobs := make([][]byte, len(some))
		for i := range some {
			blobs[i] = some[i][:]
		}
		condition, arg := tx.Blobs("key", blobs)
		err := tx.Each(ctx, func(scan func(...any) error) error {
			var sum []byte
			var id int64
			err := scan(&sum, &id)
			numbers[key(sum)] = id
			return err
		}, "SELECT key, id FROM "+table+" WHERE "+condition, arg)
		if err != nil {
			return nil, err
		}
	}
	return numbers, nil
}

// internWords gives the numbers of texts, and writes those that are not there yet.
func internWords(ctx context.Context, tx store.Tx, texts []string) (map[string]int64, error) {
	slices.Sort(texts)
	texts = slices.Compact(texts)
	numbers := map[string]int64{}
	condition, arg := tx.Texts("text", texts)
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var text string
		var id int64
		err := scan(&text, &id)
		numbers[text] = id
		return err
	}, "SELECT text, id FROM words WHERE "+condition, arg)
	if err != nil {
		return nil, err
	}
	texts = slices.DeleteFunc(texts, func(text string) bool { return numbers[text] != 0 })
	next, err := tx.Take(ctx, "words", len(texts))
	if err != nil {
		return nil, err
	}
	var missing [][]any
	for i, text := range texts {
		numbers[text] = next + int64(i)
		missing = append(missing, []any{next + int64(i), text})
	}
	return numbers, tx.Insert(ctx, store.Table{Name: "words", Columns: "id, text"}, missing)
}

// internStacks gives each entry the number of its stack, and writes the stacks, sets and
// packages that are not there yet.
func internStacks(ctx context.Context, tx store.Tx, entries []*entry) error {
	sets := map[key]layerSet{}
	for _, e := range entries {
		for _, set := range e.sets {
			sets[set.key] = set
		}
	}
	numbers, err := internSets(ctx, tx, sets)
	if err != nil {
		return err
	}
	rows := make([]row, len(entries))
	for i, e := range entries {
		var stack []positioned
		for position, set := range e.sets {
			stack = append(stack, positioned{position, numbers[set.key]})
		}
		rows[i] = newRow(encodeStack(baseLayers(e.Contents), stack))
	}
	stacks, err := intern(ctx, tx, store.Table{Name: "stacks", Columns: "id, key, sets"}, slices.Clone(rows))
	for i, e := range entries {
		e.stack = stacks[rows[i].key]
	}
	return err
}

func internSets(ctx context.Context, tx store.Tx, sets map[key]layerSet) (map[key]int64, error) {
	keys := slices.SortedFunc(maps.Keys(sets), func(a, b key) int { return bytes.Compare(a[:], b[:]) })
	numbers, err := numbersOf(ctx, tx, "sets", keys)
	if err != nil {
		return nil, err
	}
	keys = slices.DeleteFunc(keys, func(k key) bool { return numbers[k] != 0 })
	packages, err := internPackages(ctx, tx, keys, sets)
	if err != nil {
		return nil, err
	}
	next, err := tx.Take(ctx, "sets", len(keys))
	if err != nil {
		return nil, err
	}
	var rows [][]any
	for i, k := range keys {
		parts := slices.Clone(sets[k].parts)
		slices.SortFunc(parts, func(a, b *part) int { return cmp.Compare(packages[a.key], packages[b.key]) })
		ids, places := make([]int64, len(parts)), make([]place, len(parts))
		for j, p := range parts {
			ids[j], places[j] = packages[p.key], p.place
		}
		packed, err := encodePlaces(places)
		if err != nil {
			return nil, err
		}
		numbers[k] = next + int64(i)
		rows = append(rows, []any{numbers[k], k[:], encodeNumbers(ids), packed})
	}
	return numbers, tx.Insert(ctx, store.Table{Name: "sets", Columns: "id, key, packages, places"}, rows)
}

// internPackages gives the numbers of the packages in those sets.
func internPackages(ctx context.Context, tx store.Tx, keys []key, sets map[key]layerSet) (map[key]int64, error) {
	parts := map[key]*part{}
	for _, k := range keys {
		for _, p := range sets[k].parts {
			parts[p.key] = p
		}
	}
	ordered := slices.SortedFunc(maps.Keys(parts), func(a, b key) int { return bytes.Compare(a[:], b[:]) })
	numbers, err := numbersOf(ctx, tx, "packages", ordered)
	if err != nil {
		return nil, err
	}
	ordered = slices.DeleteFunc(ordered, func(k key) bool { return numbers[k] != 0 })
	next, err := tx.Take(ctx, "packages", len(ordered))
	if err != nil {
		return nil, err
	}
	var packages, licences [][]any
	for i, k := range ordered {
		p := parts[k].pkg
		numbers[k] = next + int64(i)
		packages = append(packages, []any{
			numbers[k], k[:], p.Type, p.Namespace, p.Name, query.Title(p.Type, p.Namespace, p.Name),
			p.Version, p.Arch, p.Distro, p.Source, p.SourceVersion, p.Owner, jsonText(p.Licenses), advised(p), 0,
		})
		for _, licence := range licenceNames(p.Licenses) {
			licences = append(licences, []any{licence, numbers[k]})
		}
	}
	err = tx.Insert(ctx, store.Table{
		Name:    "packages",
		Columns: "id, key, type, namespace, name, title, version, arch, distro, source, source_version, owner, licences, advised, matched_at",
	}, packages)
	if err != nil {
		return nil, err
	}
	return numbers, tx.Insert(ctx, store.Table{Name: "package_licences", Columns: "licence, package"}, licences)
}

// advised gives the name that advisories know the package by; "" when none can be about it.
func advised(p artifact.Package) string {
	if _, name, ok := p.AdvisoryKey(); ok {
		return name
	}
	return ""
}

// licenceNames gives the names in licence expressions, in lower case: "MIT OR GPL-2.0" has
// two (SPDX 2.3, annex D). What is no expression is a name as it stands.
func licenceNames(expressions []string) []string {
	var all []string
	for _, expression := range expressions {
		all = append(all, strings.ToLower(expression))
		for _, name := range strings.FieldsFunc(strings.ToLower(expression), func(r rune) bool { return strings.ContainsRune(" ()", r) }) {
			if name != "and" && name != "or" && name != "with" {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
