package update

import (
	"context"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
)

// Remedier changes images. It may be asked for the same again, after it or we were killed: what
// was done before is not done twice.
type Remedier interface {
	// Apply remedies the items of a batch and reports each once, one at a time, in any order.
	// Its own error says that those without a report could not be tried.
	Apply(ctx context.Context, batch Batch, report func(Outcome)) error

	// Move lets tags name other digests, which are in their repositories, and reports each. A
	// tag that names the wanted one already is moved; one that names a third is not, and its
	// outcome is an error of kind Denied.
	Move(ctx context.Context, moves []Move, report func(Outcome)) error
}

// Batch is some items of a campaign that have one remedy.
type Batch struct {
	Patch  string
	Run    int64
	Remedy artifact.Remedy // Rebase, Rebuild or Override
	Items  []Item

	// Hold leaves the tags where they are: After is a candidate, whose tag Move moves when it
	// has passed its tests.
	Hold bool
}

// Move is a tag that is to name another digest.
type Move struct {
	Number    int64 // of the item
	Reference string
	From, To  string // digests
}

// Outcome is what became of an item.
type Outcome struct {
	Number int64 // the item's

	// Before and After are what the tag named and names now, or with Hold would name. They are
	// the same where there was nothing to do. Where the tag had moved already, because the item
	// was worked on before, Before may be left empty.
	Before, After string

	Bytes int64 // that went to the registry
	Err   error // it failed; of kind Unavailable it is tried again
}

// Tester runs a test of an image before its tag is moved.
type Tester interface {
	// Test gives nil when the image in the reference's repository passes.
	Test(ctx context.Context, reference, digest string, test v1alpha1.ImageTest) error
}

// Signer signs what a report says.
type Signer interface {
	// Sign gives a DSSE envelope (v1.0.2, in JSON) around the payload.
	Sign(ctx context.Context, payloadType string, payload []byte) (envelope []byte, err error)
}
