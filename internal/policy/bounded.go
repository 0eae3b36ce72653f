package policy

import (
	"math"
	"slices"
	"strings"

	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
	"github.com/google/cel-go/parser"
)

// What an expression may make, in entries of a list and bytes of a text.
const (
	maxMade     = 100_000
	maxMadeText = 1 << 20
)

// bounded has the functions that make much of little look at what they make: one that doubles
// its argument needs few calls to fill the memory.
func bounded(i interpreter.Interpretable) (interpreter.Interpretable, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if _, entry := i.(*adding); !ok || entry { // a loop makes no more than it loops over
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

// appending has loops add to the list that they make without a list for each entry: half of
// the time of filter and map.
func appending(i interpreter.Interpretable) (interpreter.Interpretable, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || call.OverloadID() != overloads.AddList {
		return i, nil
	}
	accumulator, ok := call.Args()[0].(interpreter.InterpretableAttribute)
	if !ok {
		return i, nil
	}
	name, ok := accumulator.Attr().(interpreter.NamespacedAttribute)
	if !ok || !slices.Equal(name.CandidateVariableNames(), []string{parser.HiddenAccumulatorName}) {
		return i, nil
	}
	entry, ok := call.Args()[1].(interpreter.InterpretableConstructor)
	if !ok || len(entry.InitVals()) != 1 {
		return i, nil
	}
	return &adding{call, accumulator, entry.InitVals()[0]}, nil
}

// adding is "made + [entry]".
type adding struct {
	interpreter.InterpretableCall

	made, entry interpreter.Interpretable
}

// Eval implements interpreter.Interpretable.
func (a *adding) Eval(vars interpreter.Activation) ref.Val {
	made, ok := a.made.Eval(vars).(traits.MutableLister)
	if !ok {
		return a.InterpretableCall.Eval(vars)
	}
	entry := a.entry.Eval(vars)
	if types.IsUnknownOrError(entry) {
		return entry
	}
	return made.Add(&single{is: entry})
}

// single is as much of a list of one entry as adding it to another takes.
type single struct {
	traits.Lister

	is ref.Val
}

// Size implements traits.Sizer.
func (s *single) Size() ref.Val { return types.IntOne }

// Get implements traits.Indexer.
func (s *single) Get(ref.Val) ref.Val { return s.is }
