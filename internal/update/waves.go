package update

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"

	"k8s.io/apimachinery/pkg/util/intstr"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// maxWaves bounds the waves of a campaign.
const maxWaves = 100

// wave takes a share of the images.
type wave struct {
	name     string
	selector selector
	share    *intstr.IntOrString // nil is all
}

// rest is the wave of what no other takes.
const rest = "rest"

// newWaves gives the waves asked for, and one more for the rest.
func newWaves(specs []v1alpha1.PatchWave) ([]wave, error) {
	if len(specs) > maxWaves {
		return nil, fault.Newf(fault.Usage, "plan a patch", "waves", fmt.Sprintf("want at most %d", maxWaves))
	}
	var waves []wave
	for _, spec := range specs {
		w := wave{name: spec.Name, share: spec.Share}
		var err error
		if w.selector, err = newSelector(spec.Repositories, nil, spec.Labels); err == nil {
			_, err = w.most(100)
		}
		if err != nil {
			return nil, fault.New(fault.Usage, "plan a patch", "wave "+spec.Name, err)
		}
		waves = append(waves, w)
	}
	return append(waves, wave{name: rest}), nil
}

// most gives how many images of a campaign of so many the wave may take; -1 is any number.
func (w wave) most(total int) (int, error) {
	if w.share == nil {
		return -1, nil
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(w.share, total, true)
	if err == nil && n < 0 {
		err = fmt.Errorf("a share of %s is none", w.share.String())
	}
	return n, err
}

// assign gives each row the first wave that takes it. Of a share that is not all, those are
// taken whose names have the lowest hashes: some of every team, and the same ones each time.
// Rows that nothing is done with are in the last wave.
func (p *planner) assign() {
	var open []int
	for i, r := range p.rows {
		p.rows[i].wave = len(p.waves) - 1
		if r.remedy != artifact.RemedyNone {
			open = append(open, i)
		}
	}
	total := len(open)
	for number, w := range p.waves[:len(p.waves)-1] {
		var mine []int
		for _, i := range open {
			if w.selector.means(repositoryOf(p.rows[i].reference), p.labelled[i]) {
				mine = append(mine, i)
			}
		}
		if most, _ := w.most(total); most >= 0 && most < len(mine) { // newWaves has looked for an error
			shuffled := make(map[int]uint64, len(mine))
			for _, i := range mine {
				h := fnv.New64a()
				h.Write([]byte(p.rows[i].reference))
				shuffled[i] = h.Sum64()
			}
			slices.SortFunc(mine, func(a, b int) int { return cmp.Or(cmp.Compare(shuffled[a], shuffled[b]), cmp.Compare(a, b)) })
			mine = mine[:most]
		}
		for _, i := range mine {
			p.rows[i].wave = number
		}
		open = slices.DeleteFunc(open, func(i int) bool { return p.rows[i].wave == number })
	}
}
