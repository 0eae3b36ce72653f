// Package access takes requests of the registry API and gives each to the next handler with
// who asks and what he may do, or refuses it. What a site allows stands in registry.yaml, and
// what nothing there allows is denied.
//
// It is also the site's token server: clients get short-lived tokens from it, for a password,
// a robot's secret, an issuer's token or an earlier login.
package access

import (
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/registry/access/clock"
	"plimsoll.dev/plimsoll/internal/registry/access/folder"
	"plimsoll.dev/plimsoll/internal/registry/access/htpasswd"
	"plimsoll.dev/plimsoll/internal/registry/access/limit"
	"plimsoll.dev/plimsoll/internal/registry/access/robot"
	"plimsoll.dev/plimsoll/internal/registry/access/ticket"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// Options says whom to let in.
type Options struct {
	// Settings is registry.yaml, opened with Check among its checks. Where it says nothing,
	// because it is not there, everybody may do everything.
	Settings *settings.File
	// Htpasswd is a file of users. With it nobody is served without an account: without
	// settings each user may do everything, with settings he may do what those say. Settings
	// that name a file of their own win.
	Htpasswd string
	// Logger gets what goes wrong. Nil: nothing is logged.
	Logger *slog.Logger
	// Now is the machine's clock. Nil: time.Now.
	Now func() time.Time
}

// Access is who may do what in one registry. It is safe for concurrent use, and several
// servers may have one home's open.
type Access struct {
	settings *settings.File
	accounts *htpasswd.File // of Options; may be nil
	folder   string
	machine  func() time.Time
	log      *slog.Logger

	rates   *limit.Rates
	wrong   wrong
	uploads *limit.Slots
	sent    *limit.Sums // bytes of uploads under way

	mu    sync.Mutex
	kept  *kept  // nil while there are no settings
	rules *rules // of the settings last seen
}

// kept is what the home keeps of access. A site without settings keeps nothing.
type kept struct {
	now    func() time.Time // never goes back
	robots *robot.Book
	office *ticket.Office
}

// Open opens what a home keeps of access: keys, robots and a mark of the clock, in its folder
// "access", once there are settings. Errors are *fault.Error.
func Open(home string, o Options) (*Access, error) {
	a := &Access{
		settings: o.Settings, folder: Folder(home), machine: o.Now, log: o.Logger,
		rates: limit.NewRates(), wrong: newWrong(), uploads: limit.NewSlots(), sent: limit.NewSums(),
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.machine == nil {
		a.machine = time.Now
	}
	if o.Htpasswd != "" {
		var err error
		if a.accounts, err = htpasswd.Open(o.Htpasswd, a.log); err != nil {
			return nil, err
		}
	}
	_, err := a.current()
	return a, err
}

// Folder gives where a home keeps what is of access.
func Folder(home string) string { return filepath.Join(home, "access") }

func (a *Access) open() (*kept, error) {
	if err := folder.Make(a.folder); err != nil {
		return nil, err
	}
	steady, err := clock.Open(filepath.Join(a.folder, "clock"), a.machine, a.log)
	if err != nil {
		return nil, err
	}
	robots, err := robot.Open(a.folder, steady.Now, a.log)
	if err != nil {
		return nil, err
	}
	office, err := ticket.Open(a.folder, steady.Now, a.log)
	return &kept{steady.Now, robots, office}, err
}

// current gives the rules that the settings come to; nil where there are no settings. It is
// quick while they do not change.
func (a *Access) current() (*rules, error) {
	if a.settings == nil {
		return nil, nil
	}
	said := a.settings.Now()
	if said == nil {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rules != nil && a.rules.of == said {
		return a.rules, nil
	}
	next, err := a.take(said)
	if err != nil && a.rules == nil {
		return nil, err
	}
	if err != nil { // a file that the settings name went away after they were checked
		a.log.Error("registry settings cannot be taken up: the last ones stay", "error", err)
		return a.rules, nil
	}
	a.rules = next
	return next, nil
}

func (a *Access) take(said *settings.Settings) (r *rules, err error) {
	if a.kept == nil {
		if a.kept, err = a.open(); err != nil {
			a.kept = nil
			return nil, err
		}
	}
	return a.compile(said, a.rules)
}

// Robots opens the robots of a home, for a program that is no server.
func Robots(home string, log *slog.Logger) (*robot.Book, error) {
	k, err := (&Access{folder: Folder(home), machine: time.Now, log: log}).open()
	if err != nil {
		return nil, err
	}
	return k.robots, nil
}
