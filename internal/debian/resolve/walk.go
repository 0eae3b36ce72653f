package resolve

// walk chooses as apt does: every requested package first, then the dependencies of each,
// depth first and in the order of its fields, the first alternative that can be had, and none
// where something already taken will do (pkgDepCache::MarkInstall, apt-pkg/depcache.cc). What
// cannot be had is for the solver to know; when it says so too late, the walk begins anew.
type walk struct {
	s        *solver
	why      map[int]Reason // by version id: all that is taken
	conflict *clause        // what stopped it
}

func newWalk(s *solver) *walk { return &walk{s: s, why: make(map[int]Reason)} }

// run gives whether every need is settled.
func (w *walk) run() bool {
	var requested []*version
	for _, root := range w.s.roots {
		v := w.pick(root, Reason{Requested: root.text})
		if v == nil {
			return false
		}
		requested = append(requested, v)
	}
	for _, v := range requested {
		if !w.settleAll(v) {
			return false
		}
	}
	return true
}

func (w *walk) settleAll(v *version) bool {
	for _, n := range v.needs {
		if len(n.options) == 0 || w.settled(n) {
			continue
		}
		chosen := w.pick(n, Reason{By: v.pkg.String(), Field: n.field, Relation: n.text})
		if chosen == nil || !w.settleAll(chosen) {
			return false
		}
	}
	return true
}

func (w *walk) settled(n *need) bool {
	for _, o := range n.options {
		if _, taken := w.why[o.id]; taken {
			return true
		}
	}
	return false
}

// pick takes the first option that can be had, or gives nil on a conflict.
func (w *walk) pick(n *need, why Reason) *version {
	for _, o := range n.options {
		switch w.s.value(o) {
		case no:
			continue
		case unknown:
			if w.conflict = w.s.decide(o); w.conflict != nil || w.s.err != nil {
				return nil
			}
		}
		if _, taken := w.why[o.id]; !taken {
			w.why[o.id] = why
		}
		return o
	}
	return nil
}
