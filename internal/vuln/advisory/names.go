package advisory

import (
	"cmp"
	"slices"
	"strings"
)

// names joins the names of one vulnerability, as records tell them, into sets.
type names struct {
	node   map[string]int32
	text   []string // by node
	parent []int32  // of a set's tree; a root is its own
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
	n.parent = append(n.parent, at)
	return at
}

func (n *names) join(a, b int32) {
	if a, b = n.root(a), n.root(b); a != b {
		n.parent[max(a, b)] = min(a, b)
	}
}

func (n *names) root(at int32) int32 {
	for n.parent[at] != at {
		n.parent[at] = n.parent[n.parent[at]]
		at = n.parent[at]
	}
	return at
}

// set is all names of one vulnerability, the best known first, then sorted.
type set struct {
	root  int32
	names []string
}

// sets gives all sets, by the best known name of each.
func (n *names) sets() []set {
	byRoot := map[int32]int{}
	var sets []set
	for at, name := range n.text {
		root := n.root(int32(at))
		i, known := byRoot[root]
		if !known {
			i = len(sets)
			byRoot[root] = i
			sets = append(sets, set{root: root})
		}
		sets[i].names = append(sets[i].names, name)
	}
	for i := range sets {
		slices.SortFunc(sets[i].names, compareNames)
		slices.Sort(sets[i].names[1:])
	}
	slices.SortFunc(sets, func(a, b set) int { return compareNames(a.names[0], b.names[0]) })
	return sets
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
	case strings.HasPrefix(name, "CVE-"):
		return 0
	case strings.HasPrefix(name, "GHSA-"):
		return 1
	}
	return 2
}

// year gives what stands between the first two hyphens.
func year(name string) string {
	_, rest, _ := strings.Cut(name, "-")
	text, _, _ := strings.Cut(rest, "-")
	return text
}
