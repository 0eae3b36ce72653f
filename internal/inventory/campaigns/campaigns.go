// Package campaigns takes patches, the campaigns that come of them and their items, and keeps
// them in the inventory's database, so that whoever works at them can end at any time.
package campaigns

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Store keeps campaigns. It is safe for concurrent use, by several processes too.
type Store struct {
	db  *store.DB
	now func() time.Time
}

// New gives a Store in the database, by the clock.
func New(db *store.DB, now func() time.Time) *Store { return &Store{db, now} }

// Campaign is one run of a patch.
type Campaign struct {
	ID      int64               `json:"-"`
	Patch   string              `json:"patch"`
	Run     int64               `json:"run"` // from 1
	Spec    v1alpha1.PatchSpec  `json:"spec"`
	Told    string              `json:"told,omitempty"` // what changed, of an automatic one
	Plan    string              `json:"plan"`           // digest of the plan
	Radius  json.RawMessage     `json:"radius"`         // what the plan touches
	Waves   []string            `json:"waves"`          // names, in their order
	Phase   v1alpha1.PatchPhase `json:"phase"`
	Wave    int                 `json:"wave"`               // that is under way or waited for
	Due     time.Time           `json:"due,omitzero"`       // when what is waited for is over, where that is known
	Why     string              `json:"why,omitempty"`      // it waits, is paused or was halted
	Stage   Stage               `json:"stage,omitempty"`    // of the wave
	Paused  bool                `json:"paused,omitempty"`   // by somebody
	Created time.Time           `json:"created"`            // when it was planned
	Started time.Time           `json:"started,omitzero"`   // when the first wave was
	Ended   time.Time           `json:"completed,omitzero"` // zero for one that goes on
}

// Stage is how far the wave of a campaign is.
type Stage string

// The stages of a wave.
const (
	Unstarted Stage = ""     // it waits for a window
	Started   Stage = "run"  // its images are worked on
	Soaking   Stage = "soak" // they are done, and the next wave waits
	Reverting Stage = "back" // too many failed, and its tags go back
)

// Pace is how fast images were remedied so far, and how many bytes that took.
type Pace struct {
	Images  int64
	Seconds float64
	Bytes   int64
}

// forever is the end of what has not ended.
const forever = math.MaxInt64

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.Unix(), 0)
}

func moment(s int64) time.Time {
	if s == 0 || s == forever {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// text encodes values whose encoding cannot fail: texts, numbers and their lists.
func text(value any) string {
	out, err := json.Marshal(value)
	if err != nil {
		panic(err) // a value of another kind
	}
	return string(out)
}

const columns = "id, patch, run, spec, told, plan, radius, waves, phase, wave, due, why, stage, paused, created, started, ended"

func scanCampaign(scan func(...any) error) (Campaign, error) {
	var c Campaign
	var spec, radius, waves, phase, stage string
	var paused, due, created, started, ended int64
	err := scan(&c.ID, &c.Patch, &c.Run, &spec, &c.Told, &c.Plan, &radius, &waves, &phase, &c.Wave, &due, &c.Why, &stage, &paused, &created, &started, &ended)
	c.Phase, c.Stage, c.Paused, c.Radius = v1alpha1.PatchPhase(phase), Stage(stage), paused == 1, json.RawMessage(radius)
	c.Due, c.Created, c.Started, c.Ended = moment(due), moment(created), moment(started), moment(ended)
	if err == nil {
		err = errors.Join(json.Unmarshal([]byte(spec), &c.Spec), json.Unmarshal([]byte(waves), &c.Waves))
	}
	return c, err
}

// read gives the campaigns for which the condition holds.
func read(ctx context.Context, tx store.Tx, where string, args ...any) ([]Campaign, error) {
	var all []Campaign
	err := tx.Each(ctx, func(scan func(...any) error) error {
		c, err := scanCampaign(scan)
		all = append(all, c)
		return err
	}, "SELECT "+columns+" FROM campaigns WHERE phase <> '' AND "+where, args...)
	return all, err
}

// Going gives the campaigns that have not ended, the oldest first.
func (s *Store) Going(ctx context.Context) ([]Campaign, error) {
	return s.list(ctx, "ended = ? ORDER BY id", int64(forever))
}

// All gives all campaigns, the newest first, at most n.
func (s *Store) All(ctx context.Context, n int) ([]Campaign, error) {
	return s.list(ctx, "id > 0 ORDER BY id DESC LIMIT ?", n)
}

// Runs gives the campaigns of a patch, the newest first.
func (s *Store) Runs(ctx context.Context, patch string) ([]Campaign, error) {
	return s.list(ctx, "patch = ? ORDER BY run DESC", patch)
}

func (s *Store) list(ctx context.Context, where string, args ...any) ([]Campaign, error) {
	var all []Campaign
	err := s.db.Read(ctx, func(tx store.Tx) (err error) {
		all, err = read(ctx, tx, where, args...)
		return err
	})
	return all, err
}

// Latest gives the newest campaign of a patch; NotFound where there is none.
func (s *Store) Latest(ctx context.Context, patch string) (Campaign, error) {
	all, err := s.list(ctx, "patch = ? ORDER BY run DESC LIMIT 1", patch)
	if err == nil && len(all) == 0 {
		err = fault.Newf(fault.NotFound, "find the patch", patch, "there is no campaign of that name").WithHint("`plimsoll patch status` lists them")
	}
	if err != nil {
		return Campaign{}, err
	}
	return all[0], nil
}

// chunk is how many items are written in one transaction.
const chunk = 5000

// Create keeps a campaign with its items, as one more run of its patch or, where a run of it
// has not started, in its place. Of several at once one is kept; created is false for the
// others. batch gives the items from one number on, none after the last.
func (s *Store) Create(ctx context.Context, c Campaign, batch func(after, n int) []Item) (out Campaign, created bool, err error) {
	if out, created, err = s.begin(ctx, c); err != nil || !created {
		return out, created, err
	}
	remedies := map[string]int64{}
	for after := 0; ; after += chunk {
		items := batch(after, chunk)
		if len(items) == 0 {
			break
		}
		if err := s.db.Write(ctx, func(tx store.Tx) error { return insert(ctx, tx, out.ID, items, remedies) }); err != nil {
			return out, false, err
		}
	}
	return out, true, s.db.Write(ctx, func(tx store.Tx) error { return s.finish(ctx, tx, out) })
}

// begin gives the campaign its number. Nobody sees it before it is finished.
func (s *Store) begin(ctx context.Context, c Campaign) (Campaign, bool, error) {
	created := false
	c.Created = moment(seconds(s.now()))
	err := s.db.Write(ctx, func(tx store.Tx) error {
		created = false
		if err := s.dropUnfinished(ctx, tx); err != nil {
			return err
		}
		before, err := read(ctx, tx, "patch = ? ORDER BY run DESC LIMIT 1", c.Patch)
		if err != nil {
			return err
		}
		if c.Run = 1; len(before) > 0 {
			last := before[0]
			switch {
			case last.Ended.IsZero() && !last.Started.IsZero(), last.Ended.IsZero() && last.Plan == c.Plan:
				c = last
				return nil // it is under way, or just that
			case last.Ended.IsZero():
				c.Run = last.Run
			default:
				c.Run = last.Run + 1
			}
		}
		number, err := tx.Take(ctx, "campaigns", 1)
		if err != nil {
			return err
		}
		c.ID, created = number, true
		// Until it is finished, its run is none that can be another's.
		return tx.Insert(ctx, store.Table{Name: "campaigns", Columns: columns}, [][]any{{
			c.ID, c.Patch, -c.ID, text(c.Spec), c.Told, c.Plan, string(c.Radius), text(c.Waves), "", c.Wave, int64(0), c.Why, string(c.Stage), truth(c.Paused),
			seconds(c.Created), int64(0), int64(forever),
		}})
	})
	return c, created, err
}

// abandoned is after what time a campaign that is not finished has nobody who will.
const abandoned = time.Hour

// dropUnfinished forgets what processes that have died were about to create.
func (s *Store) dropUnfinished(ctx context.Context, tx store.Tx) error {
	ids, err := tx.IDs(ctx, "SELECT id FROM campaigns WHERE phase = '' AND created < ?", seconds(s.now().Add(-abandoned)))
	for _, id := range ids {
		err = errors.Join(err, drop(ctx, tx, id))
	}
	return err
}

// finish lets the campaign be seen, in the place of one that has not started.
func (s *Store) finish(ctx context.Context, tx store.Tx, c Campaign) error {
	before, err := read(ctx, tx, "patch = ? AND run = ?", c.Patch, c.Run)
	if err != nil {
		return err
	}
	for _, old := range before {
		if !old.Started.IsZero() {
			return fault.Newf(fault.Unavailable, "apply the patch", c.Patch, "another run of it has just started").WithHint("try again when it is done")
		}
		if err := drop(ctx, tx, old.ID); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, "UPDATE campaigns SET run = ?, phase = ? WHERE id = ?", c.Run, string(v1alpha1.PatchPlanned), c.ID)
	return err
}

// drop forgets a campaign and all of it.
func drop(ctx context.Context, tx store.Tx, id int64) error {
	for _, statement := range []string{
		"DELETE FROM campaign_items WHERE campaign = ?", "DELETE FROM campaign_remedies WHERE campaign = ?", "DELETE FROM campaign_turns WHERE campaign = ?",
		"DELETE FROM campaign_reports WHERE campaign = ?", "DELETE FROM campaigns WHERE id = ?",
	} {
		if _, err := tx.Exec(ctx, statement, id); err != nil {
			return err
		}
	}
	return nil
}

// Update lets change change a campaign while nobody else does, and keeps it where it differs.
// It gives the campaign as it is then.
func (s *Store) Update(ctx context.Context, id int64, change func(*Campaign, Tally) error) (Campaign, error) {
	var out Campaign
	err := s.db.Write(ctx, func(tx store.Tx) error {
		all, err := read(ctx, tx, "id = ?", id)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fault.Newf(fault.NotFound, "go on with the campaign", "", "it was removed")
		}
		c := all[0]
		t, err := s.tally(ctx, tx, c)
		if err != nil {
			return err
		}
		before := text(c)
		if err := change(&c, t); err != nil {
			return err
		}
		out = c
		if text(c) == before {
			return nil
		}
		ended := seconds(c.Ended)
		if ended == 0 {
			ended = forever
		}
		_, err = tx.Exec(ctx, "UPDATE campaigns SET spec = ?, phase = ?, wave = ?, due = ?, why = ?, stage = ?, paused = ?, started = ?, ended = ? WHERE id = ?",
			text(c.Spec), string(c.Phase), c.Wave, seconds(c.Due), c.Why, string(c.Stage), truth(c.Paused), seconds(c.Started), ended, c.ID)
		return err
	})
	return out, err
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Remove forgets a patch with all its campaigns. What was remedied stays so.
func (s *Store) Remove(ctx context.Context, patch string) error {
	return s.db.Write(ctx, func(tx store.Tx) error {
		ids, err := tx.IDs(ctx, "SELECT id FROM campaigns WHERE patch = ?", patch)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := drop(ctx, tx, id); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, "DELETE FROM patches WHERE name = ?", patch)
		return err
	})
}

// Paces gives how fast each remedy was so far.
func (s *Store) Paces(ctx context.Context) (map[artifact.Remedy]Pace, error) {
	all := map[artifact.Remedy]Pace{}
	err := s.db.Read(ctx, func(tx store.Tx) error {
		return tx.Each(ctx, func(scan func(...any) error) error {
			var remedy string
			var p Pace
			err := scan(&remedy, &p.Images, &p.Seconds, &p.Bytes)
			all[artifact.Remedy(remedy)] = p
			return err
		}, "SELECT remedy, images, seconds, bytes FROM paces")
	})
	return all, err
}

// keptPace is how many images count at most: what is new counts more than what was long ago.
const keptPace = 5000

// addPace adds to how fast it was.
func addPace(ctx context.Context, tx store.Tx, remedy artifact.Remedy, p Pace) error {
	if p.Images == 0 {
		return nil
	}
	var old Pace
	err := tx.Each(ctx, func(scan func(...any) error) error { return scan(&old.Images, &old.Seconds, &old.Bytes) },
		"SELECT images, seconds, bytes FROM paces WHERE remedy = ?", string(remedy))
	if err != nil {
		return err
	}
	if share := float64(keptPace) / float64(max(old.Images+p.Images, 1)); share < 1 {
		old.Images, old.Seconds, old.Bytes = int64(float64(old.Images)*share), old.Seconds*share, int64(float64(old.Bytes)*share)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM paces WHERE remedy = ?", string(remedy)); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO paces (remedy, images, seconds, bytes) VALUES (?, ?, ?, ?)",
		string(remedy), old.Images+p.Images, old.Seconds+p.Seconds, old.Bytes+p.Bytes)
	return err
}

// Keep keeps the signed report of a campaign.
func (s *Store) Keep(ctx context.Context, id int64, digest string, envelope []byte) error {
	return s.db.Write(ctx, func(tx store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM campaign_reports WHERE campaign = ?", id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO campaign_reports (campaign, digest, envelope) VALUES (?, ?, ?)", id, digest, envelope)
		return err
	})
}

// Unreported gives the campaigns that have ended and of which there is no report yet.
func (s *Store) Unreported(ctx context.Context) ([]Campaign, error) {
	return s.list(ctx, "ended <> ? AND NOT EXISTS (SELECT 1 FROM campaign_reports r WHERE r.campaign = campaigns.id) ORDER BY id", int64(forever))
}

// Report gives the signed report of a campaign and its digest; nothing where there is none yet.
func (s *Store) Report(ctx context.Context, id int64) (digest string, envelope []byte, err error) {
	err = s.db.Read(ctx, func(tx store.Tx) error {
		return tx.Each(ctx, func(scan func(...any) error) error {
			var raw sql.RawBytes
			err := scan(&digest, &raw)
			envelope = append([]byte(nil), raw...)
			return err
		}, "SELECT digest, envelope FROM campaign_reports WHERE campaign = ?", id)
	})
	return digest, envelope, err
}
