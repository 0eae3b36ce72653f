package inventory

import (
	"context"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// readBare gives of the items without facts what the index itself knows. Nobody verified it.
func readBare(ctx context.Context, tx store.Tx, items []item) (map[item]*artifact.Facts, error) {
	all := map[item]*artifact.Facts{}
	of := map[int64][]item{} // by image
	var ids []int64
	for _, i := range items {
		if i.manifest == 0 {
			of[i.image] = append(of[i.image], i)
			ids = append(ids, i.image)
		}
	}
	if len(ids) == 0 {
		return all, nil
	}
	for _, step := range []func(context.Context, store.Tx, []int64, map[int64][]item, map[item]*artifact.Facts) error{bareImages, bareNames, bareLabels} {
		if err := step(ctx, tx, ids, of, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func bareImages(ctx context.Context, tx store.Tx, ids []int64, of map[int64][]item, all map[item]*artifact.Facts) error {
	these, arg := tx.Ints("i.id", ids)
	return tx.Each(ctx, func(scan func(...any) error) error {
		var id, created, pushed int64
		var digest, baseDigest []byte
		var base artifact.BaseFacts
		image := artifact.ImageFacts{Kind: artifact.KindImage}
		err := scan(&id, &digest, &image.Platform, &created, &pushed, &image.Size, &base.Name, &baseDigest, &image.Layers)
		image.Digest, image.Created, image.Pushed = digestText(digest), moment(created), moment(pushed)
		base.Digest = digestText(baseDigest)
		for _, i := range of[id] {
			f := &artifact.Facts{Image: image}
			if base.Digest != "" {
				own := base
				f.Base = &own
			}
			all[i] = f
		}
		return err
	}, `SELECT i.id, i.digest, w.text, i.created, i.pushed, i.size, b.name, b.digest, (octet_length(b.layers) + octet_length(d.layers)) / 32
		FROM images i JOIN words w ON w.id = i.platform JOIN bases b ON b.id = i.base JOIN image_details d ON d.image = i.id WHERE `+these, arg)
}

// bareNames fills in repositories and tags.
func bareNames(ctx context.Context, tx store.Tx, ids []int64, of map[int64][]item, all map[item]*artifact.Facts) error {
	these, arg := tx.Ints("r.image", ids)
	return tx.Each(ctx, func(scan func(...any) error) error {
		var image, repository int64
		var name, tail string
		err := scan(&image, &repository, &name, &tail)
		at := slices.IndexFunc(of[image], func(i item) bool { return i.repository == repository })
		if err != nil || at < 0 {
			return err
		}
		facts := &all[of[image][at]].Image
		facts.Repository = name
		if tag, named := strings.CutPrefix(tail, ":"); named && !slices.Contains(facts.Tags, tag) {
			facts.Tags = append(facts.Tags, tag)
		}
		return nil
	}, "SELECT r.image, r.repository, w.text, r.tail FROM refs r JOIN words w ON w.id = r.repository WHERE "+these+" AND r.ended = ? ORDER BY r.tail", arg, int64(forever))
}

func bareLabels(ctx context.Context, tx store.Tx, ids []int64, of map[int64][]item, all map[item]*artifact.Facts) error {
	these, arg := tx.Ints("il.image", ids)
	return tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var name, value string
		err := scan(&id, &name, &value)
		for _, i := range of[id] {
			image := &all[i].Image
			if image.Labels == nil {
				image.Labels = map[string]string{}
			}
			image.Labels[name] = value
		}
		return err
	}, "SELECT il.image, l.name, l.value FROM image_labels il JOIN labels l ON l.id = il.label WHERE "+these, arg)
}
