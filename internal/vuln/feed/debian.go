package feed

import (
	"context"
	"io"
)

// Archive is a signed Debian archive of one release, as far as a debian feed reads it. All
// that it gives was verified.
type Archive interface {
	// Release gives the ecosystem's name for the release ("13"), and a digest that changes
	// when any source package does.
	Release() (version, digest string)

	// Changelogs gives the changelog of the newest version of each source package that may
	// have been fixed since the release, but of those that have says it knows. It calls
	// both from several goroutines. sum is the SHA-256 of a file that tells the version's
	// contents.
	Changelogs(ctx context.Context, have func(source, version, sum string) bool, read func(source, version, sum string, changelog io.Reader) error) error
}
