package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/debian/resolve"
)

// pigeons gives the archive in which a request for all pigeons has no set and every search
// must try nearly everything: each pigeon needs a hole, and a hole takes one.
func pigeons(count, holes int) (tiny, []string) {
	var archive strings.Builder
	var request []string
	for p := range count {
		var options []string
		for h := range holes {
			options = append(options, fmt.Sprintf("p%d-in-%d", p, h))
			var others []string
			for other := range count {
				if other != p {
					others = append(others, fmt.Sprintf("p%d-in-%d", other, h))
				}
			}
			fmt.Fprintf(&archive, "p%d-in-%d 1; Conflicts: %s\n", p, h, strings.Join(others, ", "))
		}
		fmt.Fprintf(&archive, "pigeon%d 1; Depends: %s\n", p, strings.Join(options, " | "))
		request = append(request, fmt.Sprintf("pigeon%d", p))
	}
	return tiny(archive.String()), request
}

func TestHardSearches(t *testing.T) {
	archive, request := pigeons(6, 6)
	result, err := resolve.Resolve(t.Context(), archive.universe(t), resolve.Request{Architecture: "amd64", Packages: request})
	if err != nil {
		t.Fatalf("a hole for each: %v", err)
	}
	check(t, archive.universe(t), "amd64", request, result)

	archive, request = pigeons(6, 5)
	_, err = resolve.Resolve(t.Context(), archive.universe(t), resolve.Request{Architecture: "amd64", Packages: request})
	if err == nil || !strings.Contains(err.Error(), "Conflicts") || !strings.Contains(err.Error(), "more dead ends") {
		t.Errorf("a hole too few: %v", err)
	}
	if err != nil && len(err.Error()) > 2000 {
		t.Errorf("an explanation of %d bytes", len(err.Error()))
	}
}

func TestHopelessSearchEndsWithItsContext(t *testing.T) {
	archive, request := pigeons(14, 13)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	u := archive.universe(t)
	start := time.Now()
	_, err := resolve.Resolve(ctx, u, resolve.Request{Architecture: "amd64", Packages: request})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("want the deadline, got %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestLongChain: depth costs time in proportion, and no stack.
func TestLongChain(t *testing.T) {
	const length = 20_000
	var archive strings.Builder
	for i := range length - 1 {
		fmt.Fprintf(&archive, "link%d 1; Depends: link%d\n", i, i+1)
	}
	fmt.Fprintf(&archive, "link%d 1\n", length-1)
	result, err := resolve.Resolve(t.Context(), tiny(archive.String()).universe(t),
		resolve.Request{Architecture: "amd64", Packages: []string{"link0"}})
	if err != nil || len(result.Packages) != length {
		t.Errorf("%d packages, %v", len(result.Packages), err)
	}
}
