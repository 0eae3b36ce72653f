package cli

import (
	"fmt"
	"io"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows how far the stages of a long command are: bars on a terminal, a line a
// stage otherwise.
type progress struct {
	out  io.Writer
	bars *mpb.Progress // nil without a terminal

	mu     sync.Mutex
	stages map[string]*mpb.Bar // nil values without a terminal
}

func (env *Env) progress() *progress {
	p := &progress{out: env.Err, stages: map[string]*mpb.Bar{}}
	if env.format != "" {
		p.out = io.Discard // a script reads one document, of a result or of an error
		return p
	}
	if env.Terminal {
		p.bars = mpb.New(mpb.WithOutput(env.Err), mpb.WithWidth(48))
	}
	return p
}

// update hears that done of total items of the stage are finished; 0 starts it.
func (p *progress) update(stage string, done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		if _, known := p.stages[stage]; !known || done == 0 {
			p.stages[stage] = nil
			fmt.Fprintf(p.out, "%s: %d\n", stage, total)
		}
		return
	}
	bar, ok := p.stages[stage]
	if !ok || done == 0 {
		bar = p.bars.AddBar(int64(total),
			mpb.PrependDecorators(decor.Name(stage, decor.WC{W: 26, C: decor.DindentRight})),
			mpb.AppendDecorators(decor.CountersNoUnit("%d/%d")))
		p.stages[stage] = bar
	}
	bar.SetCurrent(max(int64(done), bar.Current()))
}

// close ends the bars; stages that did not come to their end are dropped.
func (p *progress) close() {
	if p.bars == nil {
		return
	}
	p.mu.Lock()
	for _, bar := range p.stages {
		if !bar.Completed() {
			bar.Abort(false)
		}
	}
	p.mu.Unlock()
	p.bars.Wait()
}
