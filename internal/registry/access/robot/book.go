package robot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/access/folder"
	"plimsoll.dev/plimsoll/internal/registry/watch"
)

// usedWithin is how exactly the last use is kept.
const usedWithin = time.Hour

// Book has all robots of a home. Several programs may have one open: each sees at once what
// another writes. It is safe for concurrent use.
type Book struct {
	folder string
	robots *watch.Value[map[string]*Robot] // by full name
	now    func() time.Time
	log    *slog.Logger

	mu   sync.Mutex
	used map[string]time.Time // noted here, whether or not it could be written
}

// Open reads the robots in the folder. There need be none.
func Open(at string, now func() time.Time, log *slog.Logger) (*Book, error) {
	b := &Book{folder: at, now: now, log: log, used: map[string]time.Time{}}
	b.robots = watch.New(b.read, b.path("robots.json"))
	_, err := b.robots.Get()
	return b, err
}

func (b *Book) path(name string) string { return filepath.Join(b.folder, name) }

// Find gives the robot of that full name; nil where there is none.
func (b *Book) Find(full string) *Robot { return b.last()[full] }

// Check gives the robot whose secret that is, and the secret's mark; nil for a wrong secret, for
// a robot that is not there, and for one that is expired. It takes the same time for all.
func (b *Book) Check(full, secret string) (*Robot, string) {
	r := b.Find(full)
	absent := r == nil
	if absent {
		r = &Robot{Hash: hashOf("")}
	}
	now := b.now()
	if mark := r.Mark(secret, now); mark != "" && !absent && r.Live(now) {
		return r, mark
	}
	return nil, ""
}

// List gives all robots, by full name, and when each was last used.
func (b *Book) List() ([]Robot, error) {
	robots, err := b.read()
	if err != nil {
		return nil, err
	}
	used := b.readUsed()
	out := []Robot{}
	for _, full := range slices.Sorted(maps.Keys(robots)) {
		r := *robots[full]
		r.Used = used[full]
		out = append(out, r)
	}
	return out, nil
}

// Create makes the robot, and gives its secret, which nothing will tell again.
func (b *Book) Create(ctx context.Context, r Robot, period time.Duration) (Robot, string, error) {
	secret, hash := newSecret()
	r.Created, r.Hash, r.Previous, r.Used = b.now().UTC().Truncate(time.Second), hash, nil, time.Time{}
	if err := r.live(period); err != nil {
		return r, "", err
	}
	if err := r.check(); err != nil {
		return r, "", fault.New(fault.Usage, "create robot", r.Full(), err)
	}
	for _, text := range r.Repositories {
		if !reaches(text, r.Project) {
			return r, "", fault.Newf(fault.Usage, "create robot", r.Full(), fmt.Sprintf("%q is like no repository of its project", text)).
				WithHint("begin the pattern with the project's name: " + r.Project + "/" + text)
		}
	}
	err := b.change(ctx, func(robots map[string]*Robot) error {
		if robots[r.Full()] != nil {
			return fault.Newf(fault.Usage, "create robot", r.Full(), "it is there").
				WithHint("give it a new secret with `plimsoll registry robot renew`")
		}
		robots[r.Full()] = &r
		return nil
	})
	if err != nil {
		return r, "", err
	}
	return r, secret, nil
}

// Renew gives the robot a new secret and a new end. The secret before it is good for as long
// as overlap says, but not longer than it was.
func (b *Book) Renew(ctx context.Context, full string, period, overlap time.Duration) (renewed Robot, secret string, err error) {
	secret, hash := newSecret()
	err = b.change(ctx, func(robots map[string]*Robot) error {
		old := robots[full]
		if old == nil {
			return absent("renew robot", full)
		}
		renewed = *old
		renewed.Hash, renewed.Previous = hash, nil
		if now := b.now(); overlap > 0 && old.Live(now) {
			until := now.Add(overlap).UTC().Truncate(time.Second)
			if old.Expires.Before(until) {
				until = old.Expires
			}
			renewed.Previous = &Previous{old.Hash, until}
		}
		robots[full] = &renewed
		return renewed.liveFrom(b.now(), period)
	})
	if err != nil {
		return Robot{}, "", err
	}
	return renewed, secret, nil
}

// Remove removes the robot.
func (b *Book) Remove(ctx context.Context, full string) error {
	return b.change(ctx, func(robots map[string]*Robot) error {
		if robots[full] == nil {
			return absent("remove robot", full)
		}
		delete(robots, full)
		return nil
	})
}

// Note keeps that the robot was used, coarsely. It never fails a request: what cannot be
// written is told to the log.
func (b *Book) Note(full string) {
	now := b.now()
	b.mu.Lock()
	last, known := b.used[full]
	fresh := known && now.Sub(last) < usedWithin
	if !fresh {
		b.used[full] = now
	}
	b.mu.Unlock()
	if fresh {
		return
	}
	if err := b.writeUsed(full, now); err != nil {
		b.log.Warn("a robot's last use cannot be kept", "robot", full, "error", err)
	}
}

func (r *Robot) live(period time.Duration) error { return r.liveFrom(r.Created, period) }

func (r *Robot) liveFrom(now time.Time, period time.Duration) error {
	if period <= 0 || period > MaxPeriod {
		return fault.Newf(fault.Usage, "set robot's end", r.Full(), "want more than nothing and at most 366d").
			WithHint("say how long it lives with --expires, such as 90d")
	}
	r.Expires = now.Add(period).UTC().Truncate(time.Second)
	return nil
}

func absent(what, full string) error {
	return fault.Newf(fault.NotFound, what, full, "there is none of that name").WithHint("see `plimsoll registry robot list`")
}

func (b *Book) change(ctx context.Context, do func(map[string]*Robot) error) error {
	unlock, err := folder.Lock(ctx, b.folder)
	if err != nil {
		return err
	}
	defer unlock()
	robots, err := b.read()
	if err != nil {
		return err
	}
	if err := do(robots); err != nil {
		return err
	}
	list := []*Robot{}
	for _, full := range slices.Sorted(maps.Keys(robots)) {
		list = append(list, robots[full])
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err == nil {
		err = aside.WritePrivate(b.path("robots.json"), append(text, '\n'))
	}
	if err != nil {
		return fault.New(fault.Failed, "write robots", b.path("robots.json"), err)
	}
	return nil
}

func (b *Book) read() (map[string]*Robot, error) {
	path := b.path("robots.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]*Robot{}, nil
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "read robots", path, err)
	}
	robots, err := parse(text)
	if err != nil {
		return nil, fault.New(fault.Failed, "read robots", path, err).
			WithHint("bring back an older copy, or remove the file and create the robots again")
	}
	return robots, nil
}

func parse(text []byte) (map[string]*Robot, error) {
	var list []*Robot
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	robots := make(map[string]*Robot, len(list))
	for i, r := range list {
		if r == nil {
			return nil, errors.New("an entry is empty")
		}
		if err := r.check(); err != nil {
			return nil, fault.New(fault.Failed, "read robot", r.Full(), err)
		}
		if robots[r.Full()] != nil {
			return nil, fault.Newf(fault.Failed, "read robot", r.Full(), "it is there twice")
		}
		robots[r.Full()] = list[i]
	}
	return robots, nil
}

func (b *Book) last() map[string]*Robot {
	return b.robots.Last(func(err error) {
		b.log.Error("registry robots cannot be read again: the last ones stay", "error", err)
	})
}

// readUsed gives what is known; it matters so little that a damaged file is none.
func (b *Book) readUsed() map[string]time.Time {
	used := map[string]time.Time{}
	if text, err := os.ReadFile(b.path("robots.used.json")); err == nil {
		_ = json.Unmarshal(text, &used)
	}
	return used
}

func (b *Book) writeUsed(full string, now time.Time) error {
	unlock, err := folder.Lock(context.Background(), b.folder)
	if err != nil {
		return err
	}
	defer unlock()
	used, known := b.readUsed(), b.last()
	maps.DeleteFunc(used, func(full string, _ time.Time) bool { return known[full] == nil })
	used[full] = now.UTC().Truncate(time.Second)
	text, err := json.MarshalIndent(used, "", "  ")
	if err != nil {
		return err
	}
	return aside.WriteBytes(b.path("robots.used.json"), append(text, '\n'))
}
