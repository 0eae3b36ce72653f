package plane

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How often it is seen whether there was much to do, and how many bytes are taken when there was.
const (
	lookedAtEvery = 10 * time.Second
	muchTaken     = 64 << 20
)

// giveBack gives memory back to the system whenever there was much to do and is no more: a fleet, or a
// start with thousands of Images, takes three times what is kept of it. It ends with ctx.
func giveBack(ctx context.Context) {
	taken := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	ticker := time.NewTicker(lookedAtEvery)
	defer ticker.Stop()
	for was, busy := uint64(0), false; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		metrics.Read(taken)
		is := taken[0].Value.Uint64()
		much := is-was > muchTaken
		if busy && !much {
			debug.FreeOSMemory()
		}
		was, busy = is, much
	}
}
