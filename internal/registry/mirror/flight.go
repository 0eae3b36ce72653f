package mirror

import (
	"context"
	"runtime/debug"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/mirror/upstream"
)

// flight is something that is being taken in, for all who wait for it.
type flight struct {
	repository string
	done       chan struct{} // closed once err is final
	err        error
}

// sighting is what asking the source came to.
type sighting struct {
	until time.Time // it counts
	err   error
}

// sighting gives what the last question about a reference came to; fresh says that it still counts.
func (p *Proxy) sighting(key string, now time.Time) (known sighting, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.sightings[key]
	return known, ok && now.Before(known.until)
}

// begin gives the flight of that key, which is begun if it is not under way.
func (p *Proxy) begin(key, repository string, project *project, do func(context.Context) error) (*flight, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flights[key]; f != nil {
		return f, nil
	}
	if len(p.flights) >= maxFlights || p.ctx.Err() != nil {
		return nil, fault.Newf(fault.Unavailable, "take in", "", "too much is on its way already: ask again later")
	}
	f := &flight{repository: repository, done: make(chan struct{})}
	p.flights[key] = f
	p.group.Go(func() { p.fly(key, f, project, do) })
	return f, nil
}

func (p *Proxy) fly(key string, f *flight, project *project, do func(context.Context) error) {
	select {
	case project.slots <- struct{}{}:
		f.err = upstream.Plain(p.mirror.safely(func() error { return do(p.ctx) }))
		<-project.slots
	case <-p.ctx.Done():
		f.err = p.ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flights, key)
	if len(p.sightings) >= maxSightings {
		clear(p.sightings)
	}
	life := project.ttl
	if f.err != nil {
		life = p.o.Again
		p.mirror.log.Warn("proxy could not take in", "image", key, "error", f.err)
	}
	p.sightings[key] = sighting{until: time.Now().Add(life), err: f.err}
	close(f.done)
}

// safely turns a panic into an error. What came from outside is looked into here, and no server
// stands around it that would do so.
func (m *Mirror) safely(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			m.log.Error("panic while taking in", "panic", p, "stack", string(debug.Stack()))
			err = fault.Newf(fault.Failed, "take in", "", "this program stumbled over it: its log says more")
		}
	}()
	return do()
}

// under gives what is being taken in for a repository.
func (p *Proxy) under(repository string) []*flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*flight
	for _, f := range p.flights {
		if f.repository == repository {
			all = append(all, f)
		}
	}
	return all
}
