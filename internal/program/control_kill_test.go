package program

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// victims are the processes that are killed, each once in a round.
var victims = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "containerd", "plimsoll"}

const (
	killRounds   = 4
	betweenKills = 3 * time.Second // at most
)

// outlastsKills kills every process of the control plane at random points while commits are built
// and bases change, again and again. It ends as if nothing had happened.
func outlastsKills(c *control) {
	seed := rand.Uint64()
	c.t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	c.up.lives = killRounds // what it asks for while it starts may be gone in that moment
	for round := range killRounds {
		c.eventually(upWithin, "the API answers", func() error { return c.api.List(c.t.Context(), &v1alpha1.ImageList{}) })
		c.flip(round%2 == 0, "web", "run")
		c.repo.say(fmt.Sprint("Voyage ", round))
		for _, i := range random.Perm(len(victims)) {
			<-time.After(time.Duration(random.Int64N(int64(betweenKills))))
			c.killOne(victims[i])
		}
		if round%2 == 1 {
			c.eventually(builtWithin, "all is the newest", func() error { return c.settled(shopImages...) })
			c.onceEach(shopImages...)
		}
	}
	c.t.Logf("it ended by itself %d times; builds and rebases: %v", killRounds-c.up.lives, c.counts())
	c.verdicts("warn", "malware")
	c.verified(shopImages...)
	c.noSteps()
	c.stop()
	c.nothingMounted()
	c.nothingRuns()
}

// flip declares bases as they were before a fix, or as they are now.
func (c *control) flip(before bool, bases ...string) {
	c.t.Helper()
	for _, base := range bases {
		if before {
			c.applyBefore(base)
		} else {
			c.applyFile("examples/bases/" + base + ".yaml")
		}
	}
}

// killOne kills a process of the control plane as soon as it runs, and has the program itself start
// again.
func (c *control) killOne(name string) {
	c.t.Helper()
	if name == "plimsoll" {
		c.kill()
		c.launch()
		return
	}
	c.eventually(upWithin, name+" is killed", func() error {
		if !c.killPart(name) {
			return errors.New("it does not run")
		}
		return nil
	})
}

// onceEach fails for two builds of an Image in a row that are from the same inputs, which is work done
// twice, and for a rebase onto what it was on.
func (c *control) onceEach(names ...string) {
	c.t.Helper()
	for _, name := range names {
		all, err := c.builds(name)
		if err != nil {
			c.t.Fatal(err)
		}
		for i := 1; i < len(all); i++ {
			if one, other := all[i-1], all[i]; one.Spec.Number+1 == other.Spec.Number && one.Spec.Inputs == other.Spec.Inputs {
				c.t.Errorf("%s and %s are from the same inputs: %+v", one.Name, other.Name, other.Spec.Inputs)
			}
		}
		i, err := c.image(name)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, r := range i.Status.Rebases {
			if len(r.Reasons) != 1 || r.Reasons[0].Was == r.RunDigest {
				c.t.Errorf("%s was rebased onto what it was on: %+v", name, r)
			}
		}
	}
}

// nothingRuns fails when a process that names the home is left, a moment after the end.
func (c *control) nothingRuns() {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(50 * time.Millisecond) {
		left := c.processes()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("left behind: %v", left)
		}
	}
}
