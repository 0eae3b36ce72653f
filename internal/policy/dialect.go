package policy

import (
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	"k8s.io/apiserver/pkg/cel/library"
)

// dialect is CEL as Kubernetes 1.33 has it (k8s.io/apiserver, pkg/cel/environment), without
// its authorizer, with our variables. Programs made in it are not metered unless asked.
var dialect = sync.OnceValue(func() *cel.Env {
	env, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		cel.CostEstimatorOptions(checker.PresenceTestHasCost(false)),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(),
		),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxNesting),
		library.URLs(), library.Regex(), library.Lists(), library.Quantity(), library.IP(), library.CIDR(), library.Format(),
		library.SemverLib(library.SemverVersion(1)),
		ext.Strings(ext.StringsVersion(2)), ext.Sets(), ext.TwoVarComprehensions(),
	)
	if err == nil {
		provide := newProvider(env.CELTypeProvider(), env.CELTypeAdapter())
		options := []cel.EnvOption{cel.CustomTypeProvider(provide), cel.CustomTypeAdapter(provide)}
		for _, v := range variables() {
			options = append(options, cel.Variable(v.name, v.typ))
		}
		env, err = env.Extend(options...)
	}
	if err != nil {
		panic("policy: " + err.Error()) // of constants only
	}
	return env
})

// estimator knows how long things can be, from what they are read as.
type estimator struct {
	library.CostEstimator

	lengths map[string]uint64 // the most entries, or bytes, of what has a name
	asked   uint64            // the most that the last argument of size() had
}

// newEstimator is needed for the library asks for sizes what it holds.
func newEstimator(lengths map[string]uint64) *estimator {
	e := &estimator{lengths: lengths}
	e.SizeEstimator = e
	return e
}

// EstimateSize implements checker.CostEstimator.
func (e *estimator) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	return &checker.SizeEstimate{Max: e.longest(node.Path(), node.Type())}
}

// EstimateCallCost implements checker.CostEstimator.
func (e *estimator) EstimateCallCost(function, overload string, target *checker.AstNode, args []checker.AstNode) *checker.CallEstimate {
	if function == "size" && len(args) == 1 {
		if size := args[0].ComputedSize(); size != nil {
			e.asked = size.Max
		} else {
			e.asked = e.longest(args[0].Path(), args[0].Type())
		}
	}
	if function == "join" || function == "replace" { // bounded says what they may make
		return &checker.CallEstimate{CostEstimate: writing, ResultSize: &checker.SizeEstimate{Max: maxMadeText}}
	}
	return e.CostEstimator.EstimateCallCost(function, overload, target, args)
}

// writing is what it costs at most to make a text: to read it and to write it.
var writing = checker.SizeEstimate{Max: maxMadeText}.MultiplyByCostFactor(2 * common.StringTraversalCostFactor)

func (e *estimator) longest(path []string, t *types.Type) uint64 {
	if length, ok := e.lengths[strings.Join(path, ".")]; ok {
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
		switch {
		case made:
			return maxMadeText
		case strings.HasPrefix(path[len(path)-1], "@"):
			return maxLabel
		}
		return maxText
	}
	return 1
}
