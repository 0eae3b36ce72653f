package program

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/testbed"
)

// phases of the lifecycle itself; the rest of a build is ours.
var lifecyclePhases = []string{"analyze", "detect", "restore", "build", "export"}

// timed is a build as a whole process, and its phases.
type timed struct {
	wall   time.Duration
	phases map[string]time.Duration
}

// sum is the time of the lifecycle's own phases, and of the push, which the lifecycle does
// in its export when it is left to itself.
func (t timed) sum() time.Duration {
	sum := t.phases["push"]
	for _, name := range lifecyclePhases {
		sum += t.phases[name]
	}
	return sum
}

// BenchmarkBuild measures builds of the Go and the Node.js example as whole processes: warm
// with one source line changed, and with nothing changed; and what signing and evidence add.
func BenchmarkBuild(b *testing.B) {
	testbed.Tool(b, "bwrap")
	home := testbed.Home(b)
	b.Setenv("PLIMSOLL_HOME", home)
	plimsoll := filepath.Join(b.TempDir(), "plimsoll")
	run := func(name string, args ...string) []byte {
		var out, errs bytes.Buffer
		cmd := exec.Command(name, args...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			b.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
		}
		return out.Bytes()
	}
	run("go", "build", "-o", plimsoll, "../../cmd/plimsoll")
	for _, base := range []string{"build", "run", "node20", "python3", "java21", "web"} {
		run(plimsoll, "base", "build", "-f", "../../examples/bases/"+base+".yaml", "-t", base+":1")
	}
	run(plimsoll, "builder", "build", "-f", "../../examples/builders/builder.yaml", "-t", "builder:1")
	apps := map[string]string{"go": "routes.go", "nodejs": "app.js"}
	build := func(dir, name string, args ...string) timed {
		var out builtApp
		start := time.Now()
		text := run(plimsoll, append([]string{"build", dir, "-t", name + ":bench", "-o", "json"}, args...)...)
		t := timed{wall: time.Since(start), phases: map[string]time.Duration{}}
		if err := json.Unmarshal(text, &out); err != nil {
			b.Fatal(err)
		}
		for _, phase := range out.Images[0].Phases {
			t.phases[phase.Name] += phase.Duration
		}
		return t
	}
	dirs := map[string]string{}
	for name := range apps {
		dirs[name] = filepath.Join(b.TempDir(), name)
		must(b, os.CopyFS(dirs[name], os.DirFS("../../examples/apps/"+name)))
		build(dirs[name], name) // fills the caches
	}

	for b.Loop() {
		fmt.Printf("\nbuild, whole process with push to the local store, median of %d:\n", rounds)
		for _, name := range []string{"go", "nodejs"} {
			var changed, same, bare []timed
			for i := range rounds {
				changeLine(b, filepath.Join(dirs[name], apps[name]), i)
				changed = append(changed, build(dirs[name], name))
				same = append(same, build(dirs[name], name))
				changeLine(b, filepath.Join(dirs[name], apps[name]), i)
				bare = append(bare, build(dirs[name], name, "--no-evidence"))
			}
			one, none := median(changed), median(same)
			evidence := one.wall - median(bare).wall
			overhead := 100 * float64(one.wall-one.sum()) / float64(one.sum())
			fmt.Printf("  %-7s one line changed %6.2f s   nothing changed %5.2f s\n", name, one.wall.Seconds(), none.wall.Seconds())
			for _, phase := range append([]string{"fetch"}, append(lifecyclePhases, "push")...) {
				fmt.Printf("    %-8s %6.2f s  %3.0f %%\n", phase, one.phases[phase].Seconds(), 100*one.phases[phase].Seconds()/one.wall.Seconds())
			}
			fmt.Printf("    over the lifecycle's own phases and the push: %.1f %%\n", overhead)
			fmt.Printf("    of it signing and evidence, beside --no-evidence: %.2f s   (goal: 1.5)\n", evidence.Seconds())
			b.ReportMetric(one.wall.Seconds(), name+"-changed-s")
			b.ReportMetric(none.wall.Seconds(), name+"-same-s")
			b.ReportMetric(one.phases["export"].Seconds(), name+"-export-s")
			b.ReportMetric(overhead, name+"-overhead-%")
			b.ReportMetric(evidence.Seconds(), name+"-evidence-s")
		}
	}
}

// changeLine makes a difference that the compiler cannot drop.
func changeLine(b *testing.B, path string, i int) {
	b.Helper()
	text, err := os.ReadFile(path)
	must(b, err)
	marker := "harbour"
	if filepath.Ext(path) == ".js" {
		marker = "chandler"
	}
	if !bytes.Contains(text, []byte(marker)) {
		b.Fatalf("%s does not mention %q", path, marker)
	}
	must(b, os.WriteFile(path, bytes.Replace(text, []byte(marker), fmt.Appendf(nil, "%s%d", marker, i), 1), 0o644))
}

func median(all []timed) timed {
	slices.SortFunc(all, func(a, b timed) int { return int(a.wall - b.wall) })
	return all[len(all)/2]
}
