package inventory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// batch is how many images are written in one transaction.
const batch = 500

// Put takes images in, in batches that are each kept whole or not at all. Putting the same
// again changes nothing; a reference that named another image of that platform names this
// one from now on.
func (inv *Inventory) Put(ctx context.Context, images ...Image) error {
	layers := layerSets{}
	for some := range slices.Chunk(images, batch) {
		entries := make([]entry, len(some))
		for i := range some {
			if err := check(&some[i]); err != nil {
				return err
			}
			entries[i] = newEntry(&some[i], layers)
		}
		err := inv.db.Write(ctx, func(tx store.Tx) error {
			return (&putting{ctx: ctx, tx: tx, now: seconds(inv.now()), entries: entries}).run()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// entry is an image on its way into the tables.
type entry struct {
	*Image
	digest []byte
	sets   map[int]layerSet
	proof  []byte // its evidence
	base   row
	claims row
	labels []row
	key    key // of all but the reference, and when somebody verified the evidence

	id, stack int64
}

// newEntry does what needs no database, so that others write meanwhile.
func newEntry(image *Image, layers layerSets) entry {
	e := entry{Image: image, sets: layers.of(&image.Contents)}
	e.digest, _ = digestBytes(image.Contents.Image)
	e.base = baseRow(image)
	evidence := slices.Clone(image.Evidence[:min(len(image.Evidence), maxEvidence)])
	slices.SortStableFunc(evidence, func(a, b Evidence) int { // who issues it and who reads it do not give it in one order
		return cmp.Or(cmp.Compare(a.PredicateType, b.PredicateType), cmp.Compare(a.Digest, b.Digest))
	})
	claims := claimsOf(evidence)
	e.claims, e.proof = newRow(jsonText(claims)), encodeEvidence(evidence, claims)
	for _, name := range slices.Sorted(maps.Keys(image.Labels)) { // the same of many each time
		value := image.Labels[name]
		if len(name) <= maxText && len(value) <= maxText && len(e.labels) < maxLabels {
			e.labels = append(e.labels, newRow(clean(name), clean(value)))
		}
	}
	slices.SortFunc(e.labels, compareRows)
	h := sha256.New()
	for _, position := range slices.Sorted(maps.Keys(e.sets)) {
		sum := e.sets[position].key
		writeText(h, strconv.Itoa(position), string(sum[:]))
	}
	c := image.Contents
	writeText(h, c.Layers...)
	writeText(h, "", c.Platform, distroOf(c), string(e.claims.key[:]), string(encodeEvidence(undated(evidence), claims)), image.Source.URL, image.Source.Revision, string(e.base.key[:]))
	for _, label := range e.labels {
		writeText(h, string(label.key[:]))
	}
	for _, n := range []int64{int64(c.BaseLayers), seconds(image.Created), seconds(image.Pushed), image.Size} {
		writeText(h, strconv.FormatInt(n, 10))
	}
	e.key = key(h.Sum(nil))
	return e
}

// undated gives the evidence without when it was verified; that it was stays in its claim.
func undated(evidence []Evidence) []Evidence {
	all := slices.Clone(evidence)
	for i := range all {
		if !all[i].VerifiedAt.IsZero() {
			all[i].VerifiedAt = time.Unix(0, 0)
		}
	}
	return all
}

func baseRow(image *Image) row {
	digest, _ := digestBytes(image.Base.Digest)
	layers := layerBytes(image.Contents.Layers[:baseLayers(image.Contents)])
	return newRow(clean(image.Base.Name), digest, layers)
}

func baseLayers(c artifact.Contents) int { return max(0, min(c.BaseLayers, len(c.Layers))) }

// claim is what one piece of evidence says that many images' say alike.
type claim struct {
	PredicateType string `json:"predicateType"`
	Stored        string `json:"stored,omitempty"`
	KeyID         string `json:"keyID,omitempty"`
	Identity      string `json:"identity,omitempty"`
	Verified      bool   `json:"verified,omitempty"`
}

func claimOf(e Evidence) claim {
	return claim{clean(e.PredicateType), clean(e.Stored), clean(e.KeyID), clean(e.Identity), !e.VerifiedAt.IsZero()}
}

// claimsOf gives the different claims of an image's evidence, in order.
func claimsOf(evidence []Evidence) []claim {
	var claims []claim
	for _, e := range evidence {
		claims = append(claims, claimOf(e))
	}
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(jsonText(a), jsonText(b)) })
	return slices.Compact(claims)
}

// jsonText encodes values whose encoding cannot fail: texts, times and their lists.
func jsonText(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // a time out of range; seconds has bounded them all
	}
	return string(text)
}

// distroOf gives ID and VERSION_ID joined as artifact.Package's Distro is.
func distroOf(c artifact.Contents) string {
	if c.Distro.Version == "" {
		return clean(c.Distro.ID)
	}
	return clean(c.Distro.ID + "-" + c.Distro.Version)
}

// putting is one batch in its transaction.
type putting struct {
	ctx     context.Context
	tx      store.Tx
	now     int64
	entries []entry

	words  map[string]int64
	known  map[string]knownImage // by digest, before this batch
	bases  map[key]int64
	claims map[key]int64
}

// knownImage is an image that the index has already.
type knownImage struct {
	id, seen, began, ended int64
	name                   string
	key                    key
}

func (p *putting) run() error {
	for _, step := range []func() error{p.internWords, p.find, p.internContents, p.name} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (p *putting) internWords() (err error) {
	var texts []string
	for i := range p.entries {
		e := &p.entries[i]
		repository, _ := splitReference(e.Reference)
		texts = append(texts, repository, clean(e.Contents.Platform), distroOf(e.Contents), clean(e.Source.URL))
	}
	p.words, err = internWords(p.ctx, p.tx, texts)
	return err
}

// find looks up which images are known, and gives numbers to the others.
func (p *putting) find() error {
	var digests [][]byte
	for i := range p.entries {
		digests = append(digests, p.entries[i].digest)
	}
	condition, arg := p.tx.Blobs("digest", digests)
	p.known = map[string]knownImage{}
	err := p.tx.Each(p.ctx, func(scan func(...any) error) error {
		var digest, sum []byte
		var k knownImage
		err := scan(&digest, &k.id, &sum, &k.seen, &k.began, &k.ended, &k.name)
		copy(k.key[:], sum)
		p.known[string(digest)] = k
		return err
	}, "SELECT digest, id, key, seen, began, ended, name FROM images WHERE "+condition, arg)
	if err != nil {
		return err
	}
	fresh := map[string]int64{}
	for i := range p.entries {
		digest := string(p.entries[i].digest)
		if _, known := p.known[digest]; !known {
			fresh[digest] = 0
		}
	}
	next, err := p.tx.Take(p.ctx, "images", len(fresh))
	for i := range p.entries {
		e := &p.entries[i]
		if k, known := p.known[string(e.digest)]; known {
			e.id = k.id
			continue
		}
		if fresh[string(e.digest)] == 0 {
			fresh[string(e.digest)] = next
			next++
		}
		e.id = fresh[string(e.digest)]
	}
	return err
}

// changed gives the last entry of each image that is new, or known otherwise.
func (p *putting) changed() []*entry {
	last := map[int64]*entry{}
	for i := range p.entries {
		last[p.entries[i].id] = &p.entries[i]
	}
	var changed []*entry
	for _, id := range slices.Sorted(maps.Keys(last)) {
		if k, known := p.known[string(last[id].digest)]; !known || k.key != last[id].key {
			changed = append(changed, last[id])
		}
	}
	return changed
}

// internContents writes what images consist of, and their details.
func (p *putting) internContents() error {
	changed := p.changed()
	if err := internStacks(p.ctx, p.tx, changed); err != nil {
		return err
	}
	var bases, claims []row
	for _, e := range changed {
		bases, claims = append(bases, e.base), append(claims, e.claims)
	}
	var err error
	if p.bases, err = intern(p.ctx, p.tx, store.Table{Name: "bases", Columns: "id, key, name, digest, layers"}, bases); err != nil {
		return err
	}
	if p.claims, err = intern(p.ctx, p.tx, store.Table{Name: "claims", Columns: "id, key, claims"}, claims); err != nil {
		return err
	}
	return p.details(changed)
}

// details writes the cold part of images, and their labels.
func (p *putting) details(changed []*entry) error {
	var ids []int64
	var details [][]any
	var labels []row
	for _, e := range changed {
		ids = append(ids, e.id)
		own := layerBytes(e.Contents.Layers[baseLayers(e.Contents):])
		details = append(details, []any{e.id, own, e.proof})
		labels = append(labels, e.labels...)
	}
	numbers, err := intern(p.ctx, p.tx, store.Table{Name: "labels", Columns: "id, key, name, value"}, labels)
	if err != nil {
		return err
	}
	var links [][]any
	for _, e := range changed {
		for _, label := range e.labels {
			links = append(links, []any{numbers[label.key], e.id})
		}
	}
	condition, arg := p.tx.Ints("image", ids)
	for _, statement := range []string{"DELETE FROM image_details WHERE ", "DELETE FROM image_labels WHERE "} {
		if _, err := p.tx.Exec(p.ctx, statement+condition, arg); err != nil {
			return err
		}
	}
	if err := p.tx.Insert(p.ctx, store.Table{Name: "image_details", Columns: "image, layers, evidence"}, details); err != nil {
		return err
	}
	return p.tx.Insert(p.ctx, store.Table{Name: "image_labels", Columns: "label, image"}, links)
}

// name lets references name the images, and writes the images with the names they have.
func (p *putting) name() error {
	moves := make([]move, len(p.entries))
	for i := range p.entries {
		e := &p.entries[i]
		repository, tail := splitReference(e.Reference)
		moves[i] = move{
			ref:   ref{p.words[repository], tail, p.words[clean(e.Contents.Platform)]},
			image: e.id, since: p.now,
		}
		if _, known := p.known[string(e.digest)]; !known {
			moves[i].since = p.seen(e)
		}
	}
	naming := naming{ctx: p.ctx, tx: p.tx, now: p.now}
	if err := naming.move(moves); err != nil {
		return err
	}
	changed := p.changed()
	named, err := naming.names(changed)
	if err != nil {
		return err
	}
	return p.write(changed, named)
}

// seen is since when the index may say that it knows of the image.
func (p *putting) seen(e *entry) int64 {
	if k, known := p.known[string(e.digest)]; known {
		return k.seen
	}
	if pushed := seconds(e.Pushed); pushed > 0 {
		return min(pushed, p.now)
	}
	return p.now
}

func (p *putting) write(changed []*entry, named map[int64]named) error {
	var ids []int64
	var rows [][]any
	for _, e := range changed {
		n, seen := named[e.id], p.seen(e)
		pushed := seconds(e.Pushed)
		if pushed == 0 {
			pushed = seen
		}
		ids = append(ids, e.id)
		rows = append(rows, []any{
			e.id, e.digest, e.key[:], n.name, n.began, n.ended, n.others,
			e.stack, p.bases[e.base.key], p.claims[e.claims.key], p.words[clean(e.Source.URL)],
			p.words[clean(e.Contents.Platform)], p.words[distroOf(e.Contents)],
			seconds(e.Created), pushed, seen, e.Size, clean(e.Source.Revision),
		})
	}
	condition, arg := p.tx.Ints("id", ids)
	if _, err := p.tx.Exec(p.ctx, "DELETE FROM images WHERE "+condition, arg); err != nil {
		return err
	}
	if err := p.noteNews(changed); err != nil {
		return err
	}
	return p.tx.Insert(p.ctx, store.Table{
		Name:    "images",
		Columns: "id, digest, key, name, began, ended, others, stack, base, claims, source, platform, distro, created, pushed, seen, size, revision",
	}, rows)
}

// Missing gives those of the digests that the index does not know, in their order, so that
// nobody looks into an image twice.
func (inv *Inventory) Missing(ctx context.Context, digests []string) ([]string, error) {
	missing := map[string]bool{}
	for _, digest := range digests {
		missing[digest] = true
	}
	err := inv.db.Read(ctx, func(tx store.Tx) error {
		for some := range slices.Chunk(digests, batch) {
			var sums [][]byte
			for _, digest := range some {
				if sum, err := digestBytes(digest); err == nil {
					sums = append(sums, sum)
				}
			}
			condition, arg := tx.Blobs("digest", sums)
			err := tx.Each(ctx, func(scan func(...any) error) error {
				var sum []byte
				err := scan(&sum)
				missing[digestText(sum)] = false
				return err
			}, "SELECT digest FROM images WHERE "+condition, arg)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return slices.DeleteFunc(slices.Clone(digests), func(digest string) bool { return !missing[digest] }), err
}
