package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Manifest is one in a repository: of an image, an index or anything else.
type Manifest struct {
	Repository string `json:"repository"` // with its registry, unless that is the local one; no tag
	Digest     string `json:"digest"`
}

// row gives the manifest's row; what is refused is a name or a digest that cannot be one.
func (m Manifest) row() (row, error) {
	digest, err := digestBytes(m.Digest)
	if err == nil && len(digest) == 0 {
		err = errors.New("it has no digest")
	}
	if err == nil && (m.Repository == "" || clean(m.Repository) != m.Repository) {
		err = errors.New("the repository is not understood")
	}
	if err != nil {
		return row{}, fault.New(fault.Usage, "take a manifest in", clean(m.Repository)+"@"+clean(m.Digest), err)
	}
	return newRow(m.Repository, digest), nil
}

// Selection chooses manifests. The zero Selection is all that facts or verdicts are kept of.
type Selection struct {
	Of         []Manifest // these alone; nil: any
	Repository string     // only those in it; "" is any

	// Bare asks Facts also for images of which no facts were put, with the little that is
	// known of them: nothing in it was verified. Of does not bear on these.
	Bare bool
}

// internManifests gives the numbers of manifests, by the key of their rows.
func internManifests(ctx context.Context, tx store.Tx, rows []row) (map[key]int64, error) {
	return intern(ctx, tx, store.Table{Name: "manifests", Columns: "id, key, repository, digest"}, slices.Clone(rows))
}

// where gives conditions on manifests m, of which each holds for a part of the selection.
func (s Selection) where(tx store.Tx) ([]cond, error) {
	rest := always
	if s.Repository != "" {
		rest = cond{text: "m.repository = ?", args: []any{clean(s.Repository)}}
	}
	if s.Of == nil {
		return []cond{rest}, nil
	}
	var all []cond
	for some := range slices.Chunk(s.Of, 4*batch) {
		keys := make([][]byte, len(some))
		for i, m := range some {
			r, err := m.row()
			if err != nil {
				return nil, err
			}
			keys[i] = r.key[:]
		}
		text, arg := tx.Blobs("m.key", keys)
		all = append(all, cond{text: text + " AND " + rest.text, args: append([]any{arg}, rest.args...)})
	}
	return all, nil
}

// Forget drops the facts and verdicts of manifests that their repositories hold no more.
// Those of the same digests in other repositories stay.
func (inv *Inventory) Forget(ctx context.Context, manifests ...Manifest) error {
	return inv.db.Write(ctx, func(tx store.Tx) error {
		if manifests == nil {
			return nil // else a selection of all
		}
		parts, err := Selection{Of: manifests}.where(tx)
		if err != nil {
			return err
		}
		for _, where := range parts {
			ids, err := tx.IDs(ctx, "SELECT m.id FROM manifests m WHERE "+where.text, where.args...)
			if err != nil {
				return err
			}
			for table, column := range map[string]string{"facts": "manifest", "verdicts": "manifest", "manifests": "id"} {
				these, arg := tx.Ints(column, ids)
				if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE "+these, arg); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// packer packs values as compressed JSON, after a byte that tells the form.
type packer struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

const (
	packedForm = 1
	maxPacked  = 4 << 20  // bytes of the JSON of one manifest's facts, or of its verdict
	unpackedIn = 16 << 20 // bytes of memory
)

func newPacker() (*packer, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<17))
	if err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(unpackedIn))
	return &packer{encoder, decoder}, err
}

func (p *packer) close() {
	_ = p.encoder.Close() // it writes nowhere
	p.decoder.Close()
}

func (p *packer) pack(value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err == nil && len(text) > maxPacked {
		err = fmt.Errorf("it takes more than %d MB", maxPacked>>20)
	}
	if err != nil {
		return nil, err
	}
	return p.encoder.EncodeAll(text, []byte{packedForm}), nil
}

// each calls do with every number below n, on all processors.
func each(n int, do func(int) error) error {
	var group errgroup.Group
	workers := min(runtime.GOMAXPROCS(0), n)
	for w := range workers {
		group.Go(func() error {
			for i := w; i < n; i += workers {
				if err := do(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// unpack gives false for a form of another version of the program: what it holds is not
// known then.
func (p *packer) unpack(packed []byte, into any) (bool, error) {
	if len(packed) == 0 || packed[0] != packedForm {
		return false, nil
	}
	text, err := p.decoder.DecodeAll(packed[1:], nil)
	if err != nil {
		return false, err
	}
	return true, json.Unmarshal(text, into)
}
