package policy

import (
	"math"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
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

// sizes estimates how long things are, from what they are read as.
type sizes struct{ variables map[string]*variable }

// EstimateSize implements checker.CostEstimator.
func (s sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	return &checker.SizeEstimate{Max: s.max(node.Path(), node.Type())}
}

// EstimateCallCost implements checker.CostEstimator: the libraries know their own.
func (s sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

func (s sizes) max(path []string, t *types.Type) uint64 {
	made := len(path) == 0 || path[0] == "variables"
	switch t.Kind() {
	case types.ListKind, types.MapKind:
		v, ok := s.variables[strings.Join(path, ".")]
		switch {
		case ok:
			return uint64(v.max)
		case made:
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

// What an expression may make, in entries of a list and bytes of a text.
const (
	maxMade     = 100_000
	maxMadeText = 1 << 20
)

// bounded has the functions that make much of little look at what they make: one that doubles
// its argument needs few calls to fill the memory.
func bounded(i interpreter.Interpretable) (interpreter.Interpretable, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok {
		return i, nil
	}
	switch call.Function() {
	case "_+_", "format":
		return &watched{call}, nil
	case "replace":
		return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), replace), nil
	case "join":
		return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), join), nil
	}
	return i, nil
}

// watched is a call whose result must not be too large.
type watched struct{ interpreter.InterpretableCall }

// Eval implements interpreter.Interpretable.
func (w *watched) Eval(vars interpreter.Activation) ref.Val {
	v := w.InterpretableCall.Eval(vars)
	switch made := v.(type) {
	case types.String:
		if len(made) > maxMadeText {
			return errTooLarge()
		}
	case traits.Lister:
		if n, ok := made.Size().(types.Int); !ok || n > maxMade {
			return errTooLarge()
		}
	}
	return v
}

func errTooLarge() ref.Val { return types.NewErr("an expression makes a value that is too large") }

// replace is Kubernetes' function of the name, which first counts what it would make.
func replace(args ...ref.Val) ref.Val {
	s, from, to, ok := threeTexts(args)
	if !ok {
		return types.NoSuchOverloadErr()
	}
	n := int64(-1)
	if len(args) == 4 {
		limit, ok := args[3].(types.Int)
		if !ok {
			return types.NoSuchOverloadErr()
		}
		n = int64(limit)
	}
	times := strings.Count(s, from)
	if n >= 0 {
		times = min(times, int(min(n, math.MaxInt32)))
	}
	if len(s)+times*max(0, len(to)-len(from)) > maxMadeText {
		return errTooLarge()
	}
	return types.String(strings.Replace(s, from, to, times))
}

func threeTexts(args []ref.Val) (a, b, c string, ok bool) {
	if len(args) < 3 {
		return "", "", "", false
	}
	x, okX := args[0].(types.String)
	y, okY := args[1].(types.String)
	z, okZ := args[2].(types.String)
	return string(x), string(y), string(z), okX && okY && okZ
}

// join is Kubernetes' function of the name, which stops when it has made too much.
func join(args ...ref.Val) ref.Val {
	list, ok := args[0].(traits.Lister)
	if !ok {
		return types.NoSuchOverloadErr()
	}
	var separator types.String
	if len(args) == 2 {
		if separator, ok = args[1].(types.String); !ok {
			return types.NoSuchOverloadErr()
		}
	}
	var b strings.Builder
	for i, it := 0, list.Iterator(); it.HasNext() == types.True; i++ {
		s, ok := it.Next().(types.String)
		if !ok {
			return types.NoSuchOverloadErr()
		}
		if i > 0 {
			b.WriteString(string(separator))
		}
		b.WriteString(string(s))
		if b.Len() > maxMadeText {
			return errTooLarge()
		}
	}
	return types.String(b.String())
}
