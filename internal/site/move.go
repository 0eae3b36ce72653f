package site

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/ledger"
)

// TagMove is a tag that is to name another image, or index, of its repository, which stands there
// under its digest with its evidence.
type TagMove struct {
	Tag      string
	From, To string // digests: what it names, and what it is to name
}

// movers is how many tags are moved at a time.
const movers = 16

// Move moves tags, tells the inventory, and calls report once for each, at once for several. A tag
// that names the wanted one already is moved; that of one that names a third is not, and its error
// is of kind Denied. Move's own error says that nothing could begin.
func (s *Site) Move(ctx context.Context, moves []TagMove, m Means, report func(i int, err error)) error {
	l, err := ledger.Open(ctx, s.with(m), ledger.Options{NoEvidence: true}) // it has its own
	if err != nil {
		return err
	}
	defer l.Close()
	session := s.with(m).Registries.Session()
	var group errgroup.Group
	group.SetLimit(movers)
	for i, move := range moves {
		group.Go(func() error {
			report(i, s.move(ctx, session, l, move))
			return nil
		})
	}
	return group.Wait() // failures are reported
}

func (s *Site) move(ctx context.Context, session *oci.Session, l *ledger.Ledger, m TagMove) error {
	tag, err := oci.ParseTag(m.Tag)
	if err != nil {
		return err
	}
	to, err := v1.NewHash(m.To)
	if err != nil {
		return fault.New(fault.Usage, "move tag", m.Tag, err)
	}
	end, err := s.tags.take(ctx, tag.String())
	if err != nil {
		return err
	}
	defer end()
	now, err := session.Head(ctx, tag)
	if err != nil {
		return err
	}
	if now != to && now.String() != m.From {
		return fault.Newf(fault.Denied, "move tag", m.Tag, "somebody else has moved it to "+now.String()).
			WithHint("see what that is: plimsoll inspect " + m.Tag)
	}
	return l.Also(ctx, tag.At(to), tag)
}
