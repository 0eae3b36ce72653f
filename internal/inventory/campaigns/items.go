package campaigns

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// shared is what many items have in common.
type shared struct {
	Remedy    artifact.Remedy   `json:"remedy"`
	Base      *Rebase           `json:"base,omitempty"`
	Overrides []Override        `json:"overrides,omitempty"`
	Severity  artifact.Severity `json:"severity,omitempty"`
	Fixes     []Cause           `json:"fixes,omitempty"`
	Leaves    []Cause           `json:"leaves,omitempty"`
	Why       string            `json:"why,omitempty"`
}

var itemTable = store.Table{Name: "campaign_items", Columns: "campaign, number, reference, digest, team, wave, kind, remedy, attempt, state, slot, " +
	"attempts, retry, was, became, tested, bytes, error, started, ended"}

// insert adds items. remedies are those that the campaign has already, by their text.
func insert(ctx context.Context, tx store.Tx, campaign int64, items []Item, remedies map[string]int64) error {
	texts := make([]string, len(items))
	fresh := map[string]int64{}
	for i, item := range items {
		texts[i] = text(shared{item.Remedy, item.Base, item.Overrides, item.Severity, item.Fixes, item.Leaves, item.Why})
		if _, known := remedies[texts[i]]; !known {
			fresh[texts[i]] = 0
		}
	}
	next, err := tx.Take(ctx, "campaign_remedies", len(fresh))
	if err != nil {
		return err
	}
	var rows [][]any
	for _, remedy := range slices.Sorted(maps.Keys(fresh)) {
		remedies[remedy] = next
		rows = append(rows, []any{next, campaign, remedy})
		next++
	}
	if err := tx.Insert(ctx, store.Table{Name: "campaign_remedies", Columns: "id, campaign, remedy"}, rows); err != nil {
		return err
	}
	rows = rows[:0]
	for i, item := range items {
		state := Planned
		if item.Remedy == artifact.RemedyNone {
			state = Skipped
		}
		_, digits, _ := strings.Cut(item.From, ":")
		digest, err := hex.DecodeString(digits)
		if err != nil {
			return err
		}
		rows = append(rows, []any{
			campaign, item.Number, item.Reference, digest, item.Team, item.Wave, string(item.Remedy), remedies[texts[i]], item.Attempt[:], string(state), int64(-1),
			int64(0), int64(0), "", "", "", int64(0), "", int64(0), int64(0),
		})
	}
	return tx.Insert(ctx, itemTable, rows)
}

// Filter chooses items of a campaign.
type Filter struct {
	States []State // nil: any
	Wave   int     // from 0; -1: any
	After  int64   // only those with a higher number
	Limit  int     // at most so many; 0 is 1000
}

// Items gives items in running order.
func (s *Store) Items(ctx context.Context, campaign int64, f Filter) ([]Item, error) {
	where, args := "i.campaign = ? AND i.number > ?", []any{campaign, f.After}
	if f.States != nil {
		var states []string
		for _, state := range f.States {
			states = append(states, string(state))
		}
		condition, arg := s.db.Texts("i.state", states)
		where, args = where+" AND "+condition, append(args, arg)
	}
	if f.Wave >= 0 {
		where, args = where+" AND i.wave = ?", append(args, f.Wave)
	}
	if f.Limit == 0 {
		f.Limit = 1000
	}
	var all []Item
	err := s.db.Read(ctx, func(tx store.Tx) (err error) {
		all, err = readItems(ctx, tx, where+" ORDER BY i.number LIMIT ?", append(args, f.Limit)...)
		return err
	})
	return all, err
}

// readItems gives the items i for which the condition holds.
func readItems(ctx context.Context, tx store.Tx, where string, args ...any) ([]Item, error) {
	var all []Item
	var numbers []int64
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var item Item
		var digest, attempt sql.RawBytes
		var state, tested string
		var remedy, retry, started, ended int64
		err := scan(&item.Number, &item.Reference, &digest, &item.Team, &item.Wave, &remedy, &attempt, &state, &item.Attempts, &retry,
			&item.Before, &item.After, &tested, &item.Bytes, &item.Error, &started, &ended)
		item.From, item.State = "sha256:"+hex.EncodeToString(digest), State(state)
		copy(item.Attempt[:], attempt)
		item.Retry, item.Started, item.Ended = moment(retry), moment(started), moment(ended)
		if tested != "" {
			item.Tested = strings.Split(tested, "\n")
		}
		all, numbers = append(all, item), append(numbers, remedy)
		return err
	}, "SELECT i.number, i.reference, i.digest, i.team, i.wave, i.remedy, i.attempt, i.state, i.attempts, i.retry, i.was, i.became, i.tested, i.bytes, i.error, i.started, i.ended"+
		" FROM campaign_items i WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	remedies, err := readRemedies(ctx, tx, numbers)
	for i, number := range numbers {
		r := remedies[number]
		item := &all[i]
		item.Remedy, item.Base, item.Overrides, item.Severity = r.Remedy, r.Base, r.Overrides, r.Severity
		item.Fixes, item.Leaves, item.Why = r.Fixes, r.Leaves, r.Why
	}
	return all, err
}

func readRemedies(ctx context.Context, tx store.Tx, numbers []int64) (map[int64]shared, error) {
	all := map[int64]shared{}
	these, arg := tx.Ints("id", slices.Compact(slices.Sorted(slices.Values(numbers))))
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var raw sql.RawBytes
		if err := scan(&id, &raw); err != nil {
			return err
		}
		var r shared
		err := json.Unmarshal(raw, &r)
		all[id] = r
		return err
	}, "SELECT id, remedy FROM campaign_remedies WHERE "+these, arg)
	return all, err
}

// Tally counts the items of a campaign.
type Tally struct {
	Waves    []map[State]int64         // of each wave
	Remedies map[artifact.Remedy]int64 // of those that something is or was done with
	Ready    int64                     // planned items of the present wave that can be begun now, counted up to maxReady
}

// Of counts the items in those states, of one wave or, for -1, of all.
func (t Tally) Of(wave int, states ...State) int64 {
	var n int64
	for i, of := range t.Waves {
		if wave >= 0 && i != wave {
			continue
		}
		for _, state := range states {
			n += of[state]
		}
	}
	return n
}

// maxReady is how far Ready counts.
const maxReady = 64

// Tally counts the items of a campaign.
func (s *Store) Tally(ctx context.Context, c Campaign) (Tally, error) {
	var t Tally
	err := s.db.Read(ctx, func(tx store.Tx) (err error) {
		t, err = s.tally(ctx, tx, c)
		return err
	})
	return t, err
}

func (s *Store) tally(ctx context.Context, tx store.Tx, c Campaign) (Tally, error) {
	t := Tally{Waves: make([]map[State]int64, len(c.Waves)), Remedies: map[artifact.Remedy]int64{}}
	for i := range t.Waves {
		t.Waves[i] = map[State]int64{}
	}
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var wave int
		var state, kind string
		var n int64
		err := scan(&wave, &state, &kind, &n)
		if wave >= 0 && wave < len(t.Waves) {
			t.Waves[wave][State(state)] += n
			t.Remedies[artifact.Remedy(kind)] += n
		}
		return err
	}, "SELECT wave, state, kind, count(*) FROM campaign_items WHERE campaign = ? GROUP BY wave, state, kind", c.ID)
	if err != nil {
		return t, err
	}
	t.Ready, err = tx.Int(ctx, "SELECT count(*) FROM (SELECT 1 FROM campaign_items WHERE campaign = ? AND wave = ? AND state = ? AND retry <= ? LIMIT ?) x",
		c.ID, c.Wave, string(Planned), seconds(s.now()), maxReady)
	return t, err
}

// Attempts gives what the campaigns of a patch have tried, and what came to an end.
func (s *Store) Attempts(ctx context.Context, patch string) (map[[16]byte]bool, error) {
	all := map[[16]byte]bool{}
	err := s.db.Read(ctx, func(tx store.Tx) error {
		return tx.Each(ctx, func(scan func(...any) error) error {
			var raw sql.RawBytes
			err := scan(&raw)
			var attempt [16]byte
			copy(attempt[:], raw)
			all[attempt] = true
			return err
		}, "SELECT i.attempt FROM campaigns c JOIN campaign_items i ON i.campaign = c.id WHERE c.patch = ? AND c.ended <> ? AND i.attempts > 0",
			patch, int64(forever))
	})
	return all, err
}

// tested joins the names of tests.
func tested(names []string) string { return strings.Join(names, "\n") }

// maxError bounds the error of an item, in bytes.
const maxError = 1000

// bounded gives a text that every database takes.
func bounded(why string) string {
	why = strings.ReplaceAll(strings.ToValidUTF8(why, "\uFFFD"), "\x00", "\uFFFD")
	if len(why) > maxError {
		why = strings.ToValidUTF8(why[:maxError], "") + "…"
	}
	return why
}
