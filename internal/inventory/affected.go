package inventory

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Named is an image by its name alone.
type Named struct {
	Name     string `json:"name"`
	Digest   string `json:"digest"`
	Platform string `json:"platform"`
}

// Affected gives all images that the advisory concerns now, by name: what an update begins
// with. An advisory that the index does not know concerns none.
func (inv *Inventory) Affected(ctx context.Context, advisory string) ([]Named, error) {
	var all []Named
	q := query.Query{Subject: query.Images, Where: query.Affected{Where: query.Compare{Field: query.ID, Op: query.Equal, Value: query.Value{Text: advisory}}}}
	err := inv.db.Read(ctx, func(tx store.Tx) error {
		a, err := inv.asking(ctx, tx, q)
		if err != nil {
			return err
		}
		c, err := a.compile(q.Where, true, a.imageTerm)
		if err != nil {
			return err
		}
		if c.stacks != nil { // an index finds even many of them sooner than a pass over all images does
			text, arg := tx.Ints("i.stack", c.stacks.list())
			c = cond{text: text, args: []any{arg}}
		}
		all, err = readNamed(ctx, tx, a.within(c, false))
		return err
	})
	slices.SortFunc(all, func(a, b Named) int {
		if order := strings.Compare(a.Name, b.Name); order != 0 {
			return order
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	return all, err
}

// readNamed gives the images i for which the condition holds, in no order. They come as one
// text, for they are many: of each the number of its platform, its digest in hexadecimal
// digits, the length of its name in bytes, and its name, which may hold any character.
func readNamed(ctx context.Context, tx store.Tx, where cond) ([]Named, error) {
	var packed sql.NullString
	statement := "SELECT " + tx.Joined("i.platform || ' ' || "+tx.Hex("i.digest")+" || ' ' || octet_length(i.name) || ' ' || i.name") + " FROM images i WHERE " + where.text
	if err := tx.Each(ctx, func(scan func(...any) error) error { return scan(&packed) }, statement, where.args...); err != nil {
		return nil, err
	}
	var all []Named
	platforms := map[string][]int{} // which of the images have it, by its number
	for rest := packed.String; rest != ""; {
		fields := strings.SplitN(rest, " ", 4)
		if len(fields) < 4 {
			return nil, errors.New("an image without a name")
		}
		length, err := strconv.Atoi(fields[2])
		if err != nil || length < 0 || length > len(fields[3]) {
			return nil, errors.New("an image whose name is cut off")
		}
		digest, err := hex.DecodeString(fields[1])
		if err != nil {
			return nil, err
		}
		platforms[fields[0]] = append(platforms[fields[0]], len(all))
		all = append(all, Named{Name: fields[3][:length], Digest: digestText(digest)})
		rest = strings.TrimPrefix(fields[3][length:], ",")
	}
	var numbers []int64
	for number := range platforms {
		id, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, id)
	}
	condition, arg := tx.Ints("id", numbers)
	texts, err := words(ctx, tx, condition, arg)
	for id, text := range texts {
		for _, i := range platforms[strconv.FormatInt(id, 10)] {
			all[i].Platform = text
		}
	}
	return all, err
}
