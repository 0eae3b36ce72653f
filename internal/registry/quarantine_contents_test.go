package registry

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/opencontainers/go-digest"
)

// TestContentsAreBounded: what is known of repositories nobody asks about is forgotten, and
// what is kept takes as much as maxRefs says.
func TestContentsAreBounded(t *testing.T) {
	var c contents
	const repos, manifests, layers = 100, 500, 9 // twice as much as is kept
	before := heap()
	for n := range repos {
		repo := fmt.Sprint("team/app", n)
		for m := range manifests {
			var blobs []digest.Digest
			for l := range layers {
				blobs = append(blobs, digest.FromString(fmt.Sprint(n, m, l)))
			}
			h := c.of(repo)
			h.add(&item{digest: digest.FromString(fmt.Sprint(n, m))}, blobs)
			c.grew(repo, h, 1+len(blobs))
		}
		c.of("team/app0") // is asked about all the while
	}
	used := heap() - before
	t.Logf("%d references take %d MB", c.refs, used>>20)
	if c.refs > maxRefs || c.refs < maxRefs/2 || used > 100<<20 {
		t.Errorf("%d references of at most %d are kept in %d MB", c.refs, maxRefs, used>>20)
	}
	if c.repos["team/app0"] == nil || c.repos["team/app1"] != nil {
		t.Error("what is asked about is forgotten before what is not")
	}
	h := c.of("team/app0")
	c.grew("team/app0", h, -h.forget(h.all()))
	if h.refs != 0 || len(h.items)+len(h.users)+len(h.tags) != 0 {
		t.Errorf("%d references are left of what is gone", h.refs)
	}
	runtime.KeepAlive(&c)
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
