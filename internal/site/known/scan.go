package known

import (
	"context"
	"time"

	"plimsoll.dev/plimsoll/internal/site/feeds"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/vuln/match"
	"plimsoll.dev/plimsoll/internal/vuln/report"
	"plimsoll.dev/plimsoll/internal/vuln/vex"
)

// Scan looks into the image that the text names, of a platform as Look takes it, and matches what it
// finds. Files hold VEX statements; those attached to the image by whom the home trusts count, too.
func Scan(ctx context.Context, h *home.Home, text, platform string, files []string) (*Looked, report.Scan, error) {
	scan := report.Scan{Reference: text, Version: h.Version, Started: time.Now()}
	f, err := feeds.Open(h)
	if err != nil {
		return nil, scan, err
	}
	db, err := f.Database(ctx)
	if err != nil {
		return nil, scan, err
	}
	defer db.Close()
	found, err := Look(ctx, h, text, platform)
	if err != nil {
		return nil, scan, err
	}
	scan.Contents, scan.Database.Version = found.Contents, db.Version()
	if scan.Findings, err = match.Contents(ctx, db, found.Contents); err != nil {
		return nil, scan, err
	}
	if scan.Unmatched, err = match.Missing(db, found.Contents); err != nil {
		return nil, scan, err
	}
	documents, err := statements(ctx, h, files, found)
	if err != nil {
		return nil, scan, err
	}
	about := vex.Image{Contents: found.Contents, Digests: []string{found.Digest.String()}, Repository: found.Ref.Repository()}
	scan.Findings = vex.Apply(scan.Findings, about, documents)
	for _, s := range f.Status() {
		if s.Synced.After(scan.Database.Updated) {
			scan.Database.Updated = s.Synced
		}
	}
	scan.Finished = time.Now()
	return found, scan, nil
}

// statements gives the VEX documents of the files, and those attached to what was looked
// into that somebody signed whom the home trusts.
func statements(ctx context.Context, h *home.Home, files []string, found *Looked) ([]*vex.Document, error) {
	var out []*vex.Document
	for _, file := range files {
		document, err := vex.Load(file)
		if err != nil {
			return nil, err
		}
		out = append(out, document)
	}
	image, err := found.Image.Digest()
	if err != nil {
		return nil, err
	}
	attached, err := StatementsOn(ctx, h.Registries.Session(), found.Ref, h.Believed(ctx), image, found.Digest)
	return append(out, attached...), err
}
