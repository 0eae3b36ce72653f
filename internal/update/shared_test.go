package update_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/update"
)

// TestReplicasShare: two engines on one PostgreSQL take parts of a campaign, and neither does what the
// other has done.
func TestReplicasShare(t *testing.T) {
	const images, atOnce = 120, 5
	address := inventorytest.Database(t, testbed.Postgres(t))
	h := newHarbour(t, address, images, func(h *harbour, o *update.Options) {
		h.quay.delay = 5 * time.Millisecond
		o.Rebases, o.Parallel = atOnce, 1
	})
	other := newQuay(h.quay.dir, openInventory(t, address, time.Now))
	other.delay = h.quay.delay
	second, err := update.Open(t.Context(), other.inv, address, update.Options{
		Remedier: other, Tick: 20 * time.Millisecond, Lease: 2 * time.Second, Rebases: atOnce, Parallel: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- second.Run(ctx) }()
	h.apply("ssl", v1alpha1.PatchSpec{Target: openssl})
	s := h.ended("ssl")
	cancel()
	if err := <-ran; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if s.Phase != v1alpha1.PatchDone || s.Counts.Done != images {
		t.Errorf("%s %s: %+v", s.Phase, s.Why, s.Counts)
	}
	var did [2]int
	for i, q := range []*quay{h.quay, other} {
		for _, batch := range *q.batches {
			did[i] += len(batch.Items)
		}
	}
	if did[0] == 0 || did[1] == 0 || did[0]+did[1] != images {
		t.Errorf("they were given %v of %d images", did, images)
	}
	for line, n := range h.quay.journal() {
		if n != 1 {
			t.Errorf("%d times %s", n, line)
		}
	}
	t.Logf("%d and %d of %d", did[0], did[1], images)
	proof(t, h, "ssl", images)
}
