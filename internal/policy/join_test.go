package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
)

func TestJoin(t *testing.T) {
	type gates = map[artifact.Gate]artifact.Action
	verdict := func(g gates, results ...artifact.Result) artifact.Verdict {
		return artifact.Verdict{Gates: g, Results: results, Facts: "sha256:f"}
	}
	good := verdict(gates{artifact.GateRegistry: artifact.ActionAllow, artifact.GateAdmission: artifact.ActionWarn}, artifact.Result{Rule: "good", Passed: true})
	bad := verdict(gates{artifact.GateRegistry: artifact.ActionDeny, artifact.GateAdmission: artifact.ActionAllow}, artifact.Result{Rule: "bad", Why: "it is"})
	bare := verdict(gates{})
	amd, arm := Child{Digest: "sha256:0123456789abcdef", Platform: "linux/amd64"}, Child{Digest: "sha256:fedcba9876543210"}
	with := func(c Child, v artifact.Verdict) Child { c.Verdict = &v; return c }
	tests := []struct {
		name     string
		own      artifact.Verdict
		children []Child
		gates    gates
		why      []string
	}{
		{"no children", good, nil, gates{artifact.GateRegistry: artifact.ActionAllow, artifact.GateAdmission: artifact.ActionWarn}, []string{""}},
		{"all well", good, []Child{with(amd, good)}, gates{artifact.GateRegistry: artifact.ActionAllow, artifact.GateAdmission: artifact.ActionWarn}, []string{""}},
		{"one denied", good, []Child{with(amd, good), with(arm, bad)}, gates{artifact.GateRegistry: artifact.ActionDeny, artifact.GateAdmission: artifact.ActionWarn}, []string{"", "fedcba987654: it is"}},
		{"itself denied", bad, []Child{with(amd, good)}, gates{artifact.GateRegistry: artifact.ActionDeny, artifact.GateAdmission: artifact.ActionWarn}, []string{"it is"}},
		{"one without a verdict", good, []Child{amd, with(arm, good)}, gates{
			artifact.GateRegistry: artifact.ActionDeny, artifact.GateAdmission: artifact.ActionDeny, artifact.GateIdentity: artifact.ActionDeny, artifact.GateGateway: artifact.ActionDeny,
		}, []string{"", "linux/amd64: there is no verdict on it"}},
		{"one that nothing covers", good, []Child{with(amd, bare)}, gates{}, []string{""}},
		{"denied though nothing covers the index", bare, []Child{with(amd, bad)}, gates{artifact.GateRegistry: artifact.ActionDeny}, []string{"linux/amd64: it is"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := Join(tt.own, tt.children)
			if diff := cmp.Diff(tt.gates, v.Gates); diff != "" {
				t.Errorf("gates (-want +got):\n%s", diff)
			}
			var why []string
			for _, r := range v.Results {
				why = append(why, r.Why)
			}
			if diff := cmp.Diff(tt.why, why); diff != "" {
				t.Errorf("why (-want +got):\n%s", diff)
			}
		})
	}
	if len(good.Gates) != 2 || len(good.Results) != 1 {
		t.Errorf("joining changed a verdict: %+v", good)
	}
}

func TestJoinKeepsTheFirstEndAndAllExceptions(t *testing.T) {
	early, late := theNow(), theNow().Add(time.Hour)
	own := artifact.Verdict{Until: &late, Exceptions: []artifact.ExceptionInUse{{Name: "a", Rules: []string{"p/z"}}}}
	child := artifact.Verdict{Until: &early, Exceptions: []artifact.ExceptionInUse{{Name: "a", Rules: []string{"p/b", "p/z"}}, {Name: "b"}}}
	v := Join(own, []Child{{Verdict: &child}})
	want := []artifact.ExceptionInUse{{Name: "a", Rules: []string{"p/b", "p/z"}}, {Name: "b"}}
	if diff := cmp.Diff(want, v.Exceptions); diff != "" || !v.Until.Equal(early) {
		t.Errorf("until %v, exceptions (-want +got):\n%s", v.Until, diff)
	}
	if len(own.Exceptions) != 1 || len(own.Exceptions[0].Rules) != 1 {
		t.Error("joining changed a verdict")
	}
}
