package mirror

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
)

const (
	lookEvery = 5 * time.Second // at which imports there are, and which are due
	atOnce    = 2               // imports that run by schedule
)

// Load reads the ImageImport documents of all *.yaml and *.yml files in the mirror's folder. None
// is no error; a name that two have is one.
func (m *Mirror) Load() ([]*Import, error) {
	var files []string
	for _, ending := range []string{"*.yaml", "*.yml"} {
		found, err := filepath.Glob(filepath.Join(m.o.Dir, ending))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	var all []*Import
	for _, file := range files {
		imports, err := ReadImports(file)
		if err != nil {
			return nil, err
		}
		for _, i := range imports {
			if n := slices.IndexFunc(all, func(other *Import) bool { return other.Name == i.Name }); n >= 0 {
				return nil, fault.Newf(fault.Usage, "read imports", file, fmt.Sprintf("an import %q is in %s already", i.Name, all[n].File)).WithHint(importHint)
			}
			all = append(all, i)
		}
	}
	return all, nil
}

// Run runs the imports of the mirror's folder that have a schedule, each when it is due, until
// ctx ends; then it waits for those under way. One that never ran is due at once. Files are read
// again when they change; while they cannot be understood those that were read before count.
func (m *Mirror) Run(ctx context.Context) {
	r := &runner{mirror: m, running: map[string]bool{}, slots: make(chan struct{}, atOnce)}
	defer r.group.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		r.look(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

type runner struct {
	mirror  *Mirror
	imports []*Import
	stamp   string // of the files they were read from
	group   sync.WaitGroup
	slots   chan struct{}

	mu      sync.Mutex
	running map[string]bool // by name
}

// look starts what is due.
func (r *runner) look(ctx context.Context, now time.Time) {
	r.load()
	for _, i := range r.imports {
		if i.schedule == nil || !r.begin(i.Name) {
			continue
		}
		if due, err := r.mirror.due(i, now); err != nil || !due {
			if err != nil {
				r.mirror.log.Error("import cannot run", "import", i.Name, "error", err)
			}
			r.done(i.Name)
			continue
		}
		r.group.Go(func() {
			defer r.done(i.Name)
			select {
			case r.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-r.slots }()
			r.run(ctx, i)
		})
	}
}

// load reads the files again when they have changed.
func (r *runner) load() {
	stamp := stampOf(r.mirror.o.Dir)
	if stamp == r.stamp {
		return
	}
	r.stamp = stamp
	imports, err := r.mirror.Load()
	if err != nil {
		r.mirror.log.Error("imports stay as they were read before", "imports", len(r.imports), "error", err)
		return
	}
	if len(imports)+len(r.imports) > 0 {
		r.mirror.log.Info("read imports", "imports", len(imports))
	}
	r.imports = imports
}

// stampOf gives a text that changes with what lies in a folder.
func stampOf(folder string) string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err.Error()
	}
	stamp := "read"
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			stamp += fmt.Sprintf("|%s %d %d", info.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return stamp
}

func (r *runner) begin(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[name] {
		return false
	}
	r.running[name] = true
	return true
}

func (r *runner) done(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, name)
}

// due says whether an import is to run now, by its schedule as it is and its last run.
func (m *Mirror) due(i *Import, now time.Time) (bool, error) {
	state, err := m.State(i)
	if err != nil {
		return false, err
	}
	next := i.next(state)
	return !next.After(now), nil
}

func (r *runner) run(ctx context.Context, i *Import) {
	log := r.mirror.log.With("import", i.Name)
	var report *Report
	err := r.mirror.safely(func() (err error) {
		report, err = r.mirror.Import(ctx, i, ImportOptions{})
		return err
	})
	if ctx.Err() != nil {
		return
	}
	if report != nil {
		for _, o := range report.Tags {
			if o.Result != Unchanged {
				log.Info("import", "tag", o.Tag, "to", i.Destination+":"+o.To, "digest", o.Digest, "result", string(o.Result), "why", o.Why)
			}
		}
		if err == nil {
			err = report.Err()
		}
	}
	if err != nil {
		log.Warn("import did not bring all", "error", err)
	}
}
