package policy

import (
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"k8s.io/apiserver/pkg/cel/library"
)

// What evaluation may cost at worst, in units of some nanoseconds: an expression's weight for
// each round of each of its loops.
const (
	costPerRule    = 200_000_000 // of one expression
	costPerVerdict = 400_000_000
)

// weigh gives what an expression costs at most when each of its loops goes round once, and how
// long its value can be. What its loops cost is known when they run: nothing but their rounds
// is counted then.
func weigh(checked *cel.Ast, lengths map[string]uint64) (weight, length uint64, err error) {
	s := &scales{lengths: lengths}
	s.SizeEstimator = s
	native := checked.NativeRep()
	if _, err := checker.Cost(native, s, checker.PresenceTestHasCost(false)); err != nil {
		return 0, 0, err
	}
	s.add(turning)
	ast.PreOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		s.add(1)
		if e.Kind() == ast.SelectKind && depth(native.GetType(e.ID())) > 0 {
			s.add(turning) // its entries are looked at
		}
	}))
	return s.weight, s.asked, nil
}

// scales add up what the calls of an expression cost, while CEL's estimate goes through them
// and says how long their arguments can be.
type scales struct {
	library.CostEstimator

	lengths map[string]uint64 // the most entries, or bytes, of what has a name
	weight  uint64
	asked   uint64 // how long the argument of the last size() can be
}

// EstimateSize implements checker.CostEstimator.
func (s *scales) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	return &checker.SizeEstimate{Max: s.longest(node.Path(), node.Type())}
}

func (s *scales) longest(path []string, t *types.Type) uint64 {
	if length, ok := s.lengths[strings.Join(path, ".")]; ok {
		return length
	}
	made := len(path) == 0 || path[0] == "variables"
	switch t.Kind() {
	case types.ListKind, types.MapKind:
		if made {
			return maxMade
		}
		return maxList
	case types.StringKind, types.BytesKind:
		if made || path[len(path)-1] == "@values" {
			return maxMadeText
		}
		return maxText
	}
	return 1
}

// EstimateCallCost implements checker.CostEstimator. It is asked once for each overload that a
// call may have.
func (s *scales) EstimateCallCost(function, overload string, target *checker.AstNode, args []checker.AstNode) *checker.CallEstimate {
	all := args
	if target != nil {
		all = append([]checker.AstNode{*target}, args...)
	}
	sizes := make([]uint64, len(all))
	for i, arg := range all {
		sizes[i] = s.size(arg)
	}
	switch function {
	case "size":
		s.asked = sizes[0]
	case "join", "replace": // bounded says how much they may make
		s.add(writing)
		return &checker.CallEstimate{CostEstimate: checker.FixedCostEstimate(writing), ResultSize: &checker.SizeEstimate{Max: maxMadeText}}
	}
	estimate := s.CostEstimator.EstimateCallCost(function, overload, target, args)
	if estimate == nil {
		s.add(standard(overload, all, sizes))
		return nil
	}
	s.add(estimate.Max)
	if function == "findAll" && estimate.ResultSize == nil {
		estimate.ResultSize = &checker.SizeEstimate{Max: sizes[0] + 1}
	}
	return estimate
}

// turning is what a round costs even if it does nothing.
const turning = 50

// writing is what it costs to copy as long a text as may be made.
const writing = maxMadeText / 500

func (s *scales) size(node checker.AstNode) uint64 {
	if size := node.ComputedSize(); size != nil {
		return size.Max
	}
	return s.longest(node.Path(), node.Type())
}

// add stops at what no expression may cost.
func (s *scales) add(cost uint64) {
	s.weight = min(s.weight+min(cost, 2*costPerVerdict), 2*costPerVerdict)
}

// standard gives what CEL's own functions cost, where it is more than a unit. Kubernetes counts
// alike (cel-go, checker.Cost), but for lists that are compared.
func standard(overload string, args []checker.AstNode, sizes []uint64) uint64 {
	const perByte = 10
	switch overload {
	case overloads.MatchesString:
		return (1 + sizes[0]/perByte) * (1 + sizes[1]/4)
	case overloads.ContainsString:
		return (1 + sizes[0]/perByte) * (1 + sizes[1]/perByte)
	case overloads.InList:
		return 1 + sizes[1]*depthCost(args[0].Type())
	case overloads.Equals, overloads.NotEquals:
		return 1 + min(sizes[0], sizes[1])*depthCost(args[0].Type())
	}
	if strings.HasPrefix(overload, "list_sets_") {
		return sizes[0] * sizes[1]
	}
	sum := uint64(1)
	for i, arg := range args {
		if k := arg.Type().Kind(); k == types.StringKind || k == types.BytesKind {
			sum += sizes[i] / perByte
		}
	}
	return sum
}

// depthCost gives what it costs to compare an entry of a list, or ten bytes of a text.
func depthCost(t *types.Type) uint64 {
	if depth(t) > 0 {
		return maxText / 10
	}
	return 1
}
