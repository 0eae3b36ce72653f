// Command sbom measures the bill of materials of real images beside syft: whole processes,
// the same OCI layouts, nothing cached but by the kernel. It prints the ratio of their
// times and of their peak memory, and each package that only syft finds.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	dir := flag.String("dir", "", "folder that keeps the images; default is plimsoll-bench/sbom in the user's cache")
	rounds := flag.Int("rounds", 3, "how often each is run; the best counts")
	only := flag.String("only", "", "name of one image")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *rounds, *only); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, rounds int, only string) error {
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		dir = filepath.Join(cache, "plimsoll-bench", "sbom")
	}
	m, ours, syft, err := prepare(ctx, dir)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "image\tMB\tsyft s\tours s\ttimes faster\tagain ms\tsyft MB\tours MB\tof syft's\tfound\tmissed\t")
	var missed []string
	for _, r := range recipes() {
		if only != "" && r.name != only {
			continue
		}
		at, err := m.image(ctx, r)
		if err != nil {
			return err
		}
		row, only, err := compare(ctx, at, ours, syft, rounds)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%s\t\n", r.name, row)
		for _, p := range only {
			missed = append(missed, r.name+": "+p)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, p := range missed {
		fmt.Println("only syft finds", p)
	}
	return nil
}

// prepare builds both programs.
func prepare(ctx context.Context, dir string) (*maker, string, string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "plimsoll.dev/plimsoll").Output()
	if err != nil {
		return nil, "", "", fmt.Errorf("find the repository: %w", err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, "", "", err
	}
	ours, syft := filepath.Join(bin, "scan"), filepath.Join(bin, "syft")
	for target, pkg := range map[string]string{ours: "plimsoll.dev/plimsoll/bench/sbom/scan", syft: "github.com/anchore/syft/cmd/syft"} {
		if err := command(ctx, "", "go", "build", "-o", target, pkg); err != nil {
			return nil, "", "", err
		}
	}
	return &maker{dir: dir, root: strings.TrimSpace(string(out)), own: []string{ours, syft}}, ours, syft, nil
}

// figures are those of one process.
type figures struct {
	took   time.Duration
	memory int64 // bytes at its peak
	out    []byte
}

// measure runs the program.
func measure(ctx context.Context, name string, args ...string) (figures, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "SYFT_CHECK_FOR_APP_UPDATE=false")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return figures{}, fmt.Errorf("%s: %w\n%.2000s", name, err, problems.Bytes())
	}
	took := time.Since(start)
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return figures{}, fmt.Errorf("%s: the system does not tell what it used", name)
	}
	return figures{took, usage.Maxrss << 10, out.Bytes()}, nil
}

// best gives the shortest time and the highest peak of several rounds.
func best(all []figures) figures {
	least := all[0]
	for _, f := range all[1:] {
		least.took, least.memory = min(least.took, f.took), max(least.memory, f.memory)
	}
	return least
}

// compare runs both in turns and gives a row of the table, and what only syft finds.
func compare(ctx context.Context, image, ours, syft string, rounds int) (string, []string, error) {
	cache, err := os.MkdirTemp("", "sbom-bench-*")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(cache)
	var theirs, cold, warm []figures
	for i := range max(rounds, 1) {
		kept := filepath.Join(cache, fmt.Sprint(i))
		for _, one := range []struct {
			into *[]figures
			name string
			args []string
		}{
			{&theirs, syft, []string{"-q", "-o", "cyclonedx-json", "oci-dir:" + image}},
			{&cold, ours, []string{"-cache", kept, image}}, {&warm, ours, []string{"-cache", kept, image}},
		} {
			f, err := measure(ctx, one.name, one.args...)
			if err != nil {
				return "", nil, err
			}
			*one.into = append(*one.into, f)
		}
	}
	a, b, c := best(theirs), best(cold), best(warm)
	found, missed, err := recall(a.out, b.out)
	if err != nil {
		return "", nil, err
	}
	size, err := unpacked(image)
	row := fmt.Sprintf("%d\t%.2f\t%.2f\t%.1f\t%d\t%d\t%d\t%.2f\t%d\t%d", size>>20, a.took.Seconds(), b.took.Seconds(),
		a.took.Seconds()/b.took.Seconds(), c.took.Milliseconds(), a.memory>>20, b.memory>>20, float64(b.memory)/float64(a.memory), found, len(missed))
	return row, missed, err
}

// recall gives how many packages of the kinds that count syft finds, and those of them that
// are not in ours.
func recall(syft, ours []byte) (int, []string, error) {
	theirs, err := packages(syft)
	if err != nil {
		return 0, nil, err
	}
	own, err := packages(ours)
	if err != nil {
		return 0, nil, err
	}
	known := map[string]bool{}
	for _, p := range own {
		known[p.url] = true
		for _, at := range p.at {
			known[at+" "+p.version], known[at+" "] = true, true
		}
	}
	found, missed := map[string]bool{}, map[string]bool{}
	for _, p := range theirs {
		found[p.url] = true
		// A jar without Maven's own word has no name but the one that each guesses; the same
		// version found in the same jar is the same package.
		guessed := p.kind == "maven" && slices.ContainsFunc(p.at, func(at string) bool { return known[at+" "+p.version] })
		if !known[p.url] && !guessed {
			missed[p.url+" in "+strings.Join(p.at, ", ")] = true
		}
	}
	return len(found), slices.Sorted(maps.Keys(missed)), nil
}

// pkg is a package in a bill.
type pkg struct {
	url, kind, version string
	at                 []string // files, without a leading slash; of an archive in an archive both
}

// packages gives those of the kinds that count.
func packages(text []byte) ([]pkg, error) {
	var list struct {
		Components []struct {
			PURL       string
			Properties []struct{ Name, Value string }
			Evidence   struct {
				Occurrences []struct{ Location string }
			}
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	var all []pkg
	for _, c := range list.Components {
		plain, _, _ := strings.Cut(c.PURL, "?")
		plain, _, _ = strings.Cut(plain, "#")
		kind, _, _ := strings.Cut(strings.TrimPrefix(plain, "pkg:"), "/")
		if !slices.Contains([]string{"deb", "golang", "npm", "pypi", "maven"}, kind) {
			continue
		}
		plain, err := url.PathUnescape(strings.ToLower(plain))
		if err != nil {
			return nil, err
		}
		p := pkg{url: plain, kind: kind}
		if at := strings.LastIndexByte(plain, '@'); at > 0 {
			p.version = plain[at+1:]
		}
		for _, o := range c.Evidence.Occurrences {
			p.at = append(p.at, o.Location)
		}
		for _, property := range c.Properties {
			if property.Name == "syft:metadata:virtualPath" || strings.HasSuffix(property.Name, ":path") && kind != "maven" {
				p.at = append(p.at, strings.TrimPrefix(strings.ReplaceAll(property.Value, ":", "/"), "/"))
			}
		}
		all = append(all, p)
	}
	return all, nil
}
