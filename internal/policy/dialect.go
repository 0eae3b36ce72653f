package policy

import (
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"k8s.io/apiserver/pkg/cel/library"
)

// dialect is CEL as Kubernetes 1.33 has it (k8s.io/apiserver, pkg/cel/environment), without
// its authorizer, with our variables. It does not count what evaluation costs, which takes
// longer than to evaluate: weigh says how that is bounded here.
var dialect = sync.OnceValue(func() *cel.Env {
	env, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
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
