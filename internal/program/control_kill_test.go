//go:build e2e

package program

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// victims are the processes that are killed, each once in a round.
var victims = []string{"etcd", "kube-apiserver", "kubelet", "containerd", "plimsoll"}

const (
	killRounds   = 6
	betweenKills = 4 * time.Second // at most
)

// outlastsKills kills every process of the control plane at random points while a commit is
// built and a base changes, again and again. Every round ends as if nothing had happened.
func outlastsKills(c *control) {
	seed := rand.Uint64()
	c.t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	c.up.lives = killRounds // what it asks for while it starts may be gone in that moment
	killed := map[string]int{}
	for round := range killRounds {
		if round%2 == 0 {
			c.applyBefore("web")
			c.applyBefore("run")
		} else {
			c.applyFile("examples/bases/web.yaml")
			c.applyFile("examples/bases/run.yaml")
		}
		c.repo.say(fmt.Sprint("Voyage ", round))
		for _, i := range random.Perm(len(victims)) {
			<-time.After(time.Duration(random.Int64N(int64(betweenKills))))
			if c.killOne(victims[i]) {
				killed[victims[i]]++
			}
		}
		c.eventually(builtWithin, fmt.Sprint("round ", round, " has ended well"), func() error { return c.settled(shopImages...) })
		c.onceEach(shopImages...)
	}
	c.t.Logf("killed: %v", killed)
	for _, name := range victims {
		if killed[name] < killRounds-1 { // one may have been between two runs
			c.t.Errorf("%s was killed %d times, want %d", name, killed[name], killRounds)
		}
	}
	c.verdicts("warn", "malware")
	c.verified(shopImages...)
	c.noSteps()
	c.stop()
	c.nothingMounted()
	c.nothingRuns()
}

// killOne kills a process of the control plane, and has the program itself start again.
func (c *control) killOne(name string) bool {
	c.t.Helper()
	if name != "plimsoll" {
		return c.killPart(name)
	}
	c.kill()
	c.launch()
	return true
}

// onceEach fails for two Builds of an Image in a row that are from the same inputs, which is work
// done twice.
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
			c.t.Fatalf("left behind: %q", left)
		}
	}
}

// processes gives the command lines that name the home.
func (c *control) processes() (lines []string) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // it has ended meanwhile when this fails
		if bytes.Contains(text, []byte(c.home)) {
			lines = append(lines, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return lines
}
