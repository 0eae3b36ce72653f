package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/oci/bundle"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// Also lets tags name an image, or an index, that stands under its digest with its evidence, and
// tells the inventory of those that named another.
func (l *Ledger) Also(ctx context.Context, image oci.Reference, tags ...oci.Reference) error {
	moved, err := l.name(ctx, image, tags)
	for _, tag := range moved {
		judge.Remember(ctx, l.home, tag.String())
	}
	return err
}

// name lets tags name an image, and gives those that named another before. Tags in other
// repositories get a copy of all of it.
func (l *Ledger) name(ctx context.Context, image oci.Reference, tags []oci.Reference) (moved []oci.Reference, err error) {
	if len(tags) == 0 {
		return nil, nil
	}
	m, err := l.session.Manifest(ctx, image)
	if err != nil {
		return nil, err
	}
	for _, tag := range tags {
		now, err := l.session.Head(ctx, tag)
		switch {
		case err == nil && now == m.Digest:
			continue
		case err != nil && fault.KindOf(err) != fault.NotFound:
			return moved, err
		}
		if err := l.untold.note(moves, tag.String()); err != nil {
			return moved, err
		}
		if tag.Repository() == image.Repository() {
			_, err = l.session.PutManifest(ctx, tag, m.MediaType, m.Raw)
		} else {
			err = l.copy(ctx, image, tag)
		}
		if err != nil {
			return moved, err
		}
		moved = append(moved, tag)
	}
	return moved, nil
}

// copy copies an image with all that is attached to it into another repository.
func (l *Ledger) copy(ctx context.Context, image, to oci.Reference) error {
	file, err := unnamed(l.home.Path("cache"))
	if err != nil {
		return fault.New(fault.Failed, "copy image", to.String(), err)
	}
	defer file.Close()
	if _, err := bundle.Write(ctx, l.session, []oci.Reference{image}, file); err != nil {
		return err
	}
	b, err := bundle.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return err
	}
	defer b.Close()
	for _, one := range b.Names() { // there is one
		if _, err := b.Push(ctx, l.session, one, to); err != nil {
			return err
		}
	}
	return nil
}

// unnamed gives a file on the disk of the folder that nobody has to remove, whatever happens.
func unnamed(folder string) (*os.File, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(folder, "copy-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
