package advisory

import (
	"cmp"
	"slices"
	"strings"
)

// names joins the names of one vulnerability, as records tell them, into sets.
type names struct {
	node    map[string]int32
	text    []string // by node
	links   [][2]int32
	bundles []bundled
	parent  []int32 // of a set's tree; a root is its own
}

// bundled is the name of a record that is about several vulnerabilities, and one of them.
type bundled struct {
	node int32
	name string
}

// add gives the node of a name.
func (n *names) add(name string) int32 {
	if at, known := n.node[name]; known {
		return at
	}
	name = strings.Clone(name) // the record's share the text of a whole file
	at := int32(len(n.text))
	n.node[name] = at
	n.text = append(n.text, name)
	return at
}

// link says that two nodes are names of one vulnerability.
func (n *names) link(a, b int32) { n.links = append(n.links, [2]int32{a, b}) }

func (n *names) bundle(node int32, name string) {
	n.bundles = append(n.bundles, bundled{node, strings.Clone(name)})
}

// set is all names of one vulnerability.
type set struct {
	root    int32
	names   []string // the best known first, then sorted
	bundles []string // the records that tell of it among others, sorted
}

// aliases gives the names besides the first, and those of the records that tell of it
// among others, but for bulletins: nobody calls one vulnerability by them.
func (s set) aliases() []string {
	aliases := slices.Clone(s.names[1:])
	for _, name := range s.bundles {
		if !isBulletin(name) {
			aliases = append(aliases, name)
		}
	}
	slices.Sort(aliases)
	return aliases
}

// sets joins what is linked and gives all sets by the best known name of each. Two CVEs are
// never joined: a record that says so is wrong. Links count in the order of their names, so
// that the order of the records does not matter.
func (n *names) sets() []set {
	slices.SortFunc(n.links, func(a, b [2]int32) int {
		return cmp.Or(cmp.Compare(n.text[a[0]], n.text[b[0]]), compareNames(n.text[a[1]], n.text[b[1]]))
	})
	n.parent = make([]int32, len(n.text))
	best := make([]int32, len(n.text)) // the best known name of the set, by its root
	for i := range n.parent {
		n.parent[i], best[i] = int32(i), int32(i)
	}
	for _, link := range n.links {
		a, b := n.root(link[0]), n.root(link[1])
		if a == b || isCVE(n.text[best[a]]) && isCVE(n.text[best[b]]) {
			continue
		}
		n.parent[b] = a
		if compareNames(n.text[best[b]], n.text[best[a]]) < 0 {
			best[a] = best[b]
		}
	}
	sets := make([]set, 0, len(n.text)/2)
	place := make([]int32, len(n.text)) // of a root's set, from 1
	for at, name := range n.text {
		root := n.root(int32(at))
		if place[root] == 0 {
			sets = append(sets, set{root: root})
			place[root] = int32(len(sets))
		}
		of := &sets[place[root]-1]
		of.names = append(of.names, name)
	}
	for _, b := range n.bundles {
		of := &sets[place[n.root(b.node)]-1]
		of.bundles = append(of.bundles, b.name)
	}
	for i := range sets {
		s := &sets[i]
		slices.SortFunc(s.names, compareNames)
		slices.Sort(s.names[1:])
		slices.Sort(s.bundles)
		s.bundles = slices.Compact(s.bundles)
	}
	slices.SortFunc(sets, func(a, b set) int { return compareNames(a.names[0], b.names[0]) })
	return sets
}

func (n *names) root(at int32) int32 {
	for n.parent[at] != at {
		n.parent[at] = n.parent[n.parent[at]]
		at = n.parent[at]
	}
	return at
}

// compareNames puts first the name that people know best: a CVE, then GitHub's. Numbers are
// in their order where the lower one is shorter, as it is within one year.
func compareNames(a, b string) int {
	return cmp.Or(
		cmp.Compare(nameRank(a), nameRank(b)),
		cmp.Compare(year(a), year(b)),
		cmp.Compare(len(a), len(b)),
		cmp.Compare(a, b),
	)
}

func nameRank(name string) int {
	switch {
	case isCVE(name):
		return 0
	case strings.HasPrefix(name, "GHSA-"):
		return 1
	}
	return 2
}

func isCVE(name string) bool { return strings.HasPrefix(name, "CVE-") }

// year gives what stands between the first two hyphens.
func year(name string) string {
	_, rest, _ := strings.Cut(name, "-")
	text, _, _ := strings.Cut(rest, "-")
	return text
}
