package inventory

import (
	"maps"
	"slices"
)

// findNames finds the names of images that have several: most have one, which is in their row.
func (e *exposing) findNames() error {
	e.names = map[int64][]string{}
	return e.tx.Each(e.ctx, func(scan func(...any) error) error {
		var id int64
		var name string
		err := scan(&id, &name)
		e.names[id] = append(e.names[id], name)
		return err
	}, `SELECT DISTINCT r.image, w.text || r.tail FROM images o JOIN refs r ON r.image = o.id JOIN words w ON w.id = r.repository
		WHERE o.others > 0 AND r.ended = ?`, int64(forever))
}

// findLabels finds the labels asked for. Images with the same ones share them.
func (e *exposing) findLabels() error {
	var err error
	if e.unsourced, err = e.tx.Int(e.ctx, "SELECT id FROM words WHERE text = ''"); err != nil || len(e.ask.Labels) == 0 {
		return err
	}
	type label struct{ name, value string }
	labels := map[int64]label{}
	names, arg := e.tx.Texts("name", e.ask.Labels)
	err = e.tx.Each(e.ctx, func(scan func(...any) error) error {
		var id int64
		var l label
		err := scan(&id, &l.name, &l.value)
		labels[id] = l
		return err
	}, "SELECT id, name, value FROM labels WHERE "+names, arg)
	if err != nil {
		return err
	}
	type link struct {
		with  *map[string]string // nil is none
		label int64
	}
	shared := map[link]*map[string]string{}
	of := map[int64]*map[string]string{}
	these, arg := e.tx.Ints("label", slices.Sorted(maps.Keys(labels)))
	err = e.tx.Each(e.ctx, func(scan func(...any) error) error {
		var id, number int64
		if err := scan(&id, &number); err != nil {
			return err
		}
		key := link{of[id], number}
		if shared[key] == nil {
			more := map[string]string{labels[number].name: labels[number].value}
			if key.with != nil {
				maps.Copy(more, *key.with)
			}
			shared[key] = &more
		}
		of[id] = shared[key]
		return nil
	}, "SELECT image, label FROM image_labels WHERE "+these+" ORDER BY label, image", arg)
	e.labels = make(map[int64]map[string]string, len(of))
	for id, all := range of {
		e.labels[id] = *all
	}
	return err
}
