// Package command takes a command line written for a shell and gives the process that it
// runs, for images that have no shell.
package command

import (
	"fmt"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// Command is a program with its arguments.
type Command struct {
	Env  []Variable // in the order written
	Args []string   // the program and its arguments
}

// Variable is an assignment before the program.
type Variable struct{ Name, Value string }

// shellWord begins an argument or a value that has variables: a word of a shell follows.
// None can hold this byte otherwise.
const shellWord = "\x00"

// Parse reads one command: words, quotes, variables, and assignments before the words. Its
// error says what else of a shell the line needs.
func Parse(line string) (Command, error) {
	call, err := parse(line)
	if err != nil {
		return Command{}, err
	}
	var c Command
	for _, assign := range call.Assigns {
		value := ""
		if assign.Value != nil {
			if value, err = text(assign.Value); err != nil {
				return Command{}, fmt.Errorf("%q cannot be read: %w", line, err)
			}
		}
		c.Env = append(c.Env, Variable{assign.Name.Value, value})
	}
	for _, word := range call.Args {
		arg, err := text(word)
		if err != nil {
			return Command{}, fmt.Errorf("%q cannot be read: %w", line, err)
		}
		c.Args = append(c.Args, arg)
	}
	if len(c.Args) > 0 && c.Args[0] == "exec" { // there is no shell that it could replace
		c.Args = c.Args[1:]
	}
	switch {
	case len(c.Args) == 0 || c.Args[0] == "":
		return Command{}, fmt.Errorf("%q names no program", line)
	case strings.HasPrefix(c.Args[0], shellWord):
		return Command{}, fmt.Errorf("%q names its program by a variable: write the program itself", line)
	}
	return c, nil
}

// parse gives the only command of the line.
func parse(line string) (*syntax.CallExpr, error) {
	file, err := syntax.NewParser().Parse(strings.NewReader(line), "")
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", line, err)
	}
	if why := unsupported(file); why != "" {
		return nil, fmt.Errorf("%q needs a shell for %s, and the run image has none", line, why)
	}
	if len(file.Stmts) == 0 {
		return nil, fmt.Errorf("%q names no program", line)
	}
	return file.Stmts[0].Cmd.(*syntax.CallExpr), nil
}

// text gives a word without its quotes, or as it is when it has variables. A word in which
// nothing is expanded is one field.
func text(word *syntax.Word) (string, error) {
	if len(variables(word)) > 0 {
		var source strings.Builder
		err := syntax.NewPrinter().Print(&source, word)
		return shellWord + source.String(), err
	}
	fields, err := expand.Fields(nil, word)
	return strings.Join(fields, " "), err
}

// variables gives those below the node, each as often as it is there.
func variables(node syntax.Node) []*syntax.ParamExp {
	var all []*syntax.ParamExp
	syntax.Walk(node, func(node syntax.Node) bool {
		if variable, ok := node.(*syntax.ParamExp); ok {
			all = append(all, variable)
		}
		return true
	})
	return all
}

// Assignment reads an argument of the form NAME=VALUE, as a program such as cross-env does.
func Assignment(arg string) (Variable, bool) {
	source, expands := strings.CutPrefix(arg, shellWord)
	name, value, ok := strings.Cut(source, "=")
	if !ok || !syntax.ValidName(name) {
		return Variable{}, false
	}
	if expands {
		value = shellWord + value
	}
	return Variable{name, value}, true
}

// Expands tells whether the command has variables.
func (c Command) Expands() bool {
	return slices.ContainsFunc(c.Args, func(arg string) bool { return strings.HasPrefix(arg, shellWord) }) ||
		slices.ContainsFunc(c.Env, func(v Variable) bool { return strings.HasPrefix(v.Value, shellWord) })
}

// String gives the command as a line that Parse reads.
func (c Command) String() string {
	var words []string
	for _, v := range c.Env {
		words = append(words, v.Name+"="+quote(v.Value))
	}
	for _, arg := range c.Args {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

func quote(arg string) string {
	if source, expands := strings.CutPrefix(arg, shellWord); expands {
		return source
	}
	quoted, err := syntax.Quote(arg, syntax.LangBash)
	if err != nil { // only for a zero byte, which Parse never leaves
		return "''"
	}
	return quoted
}

// unsupported gives the first thing in the file that only a shell can do, or "".
func unsupported(file *syntax.File) string {
	if len(file.Stmts) > 1 {
		return "several commands"
	}
	why := ""
	syntax.Walk(file, func(node syntax.Node) bool {
		if why == "" && node != nil {
			why = shellOnly(node)
		}
		return why == ""
	})
	return why
}

func shellOnly(node syntax.Node) string {
	switch n := node.(type) {
	case *syntax.Stmt:
		switch {
		case n.Background, n.Coprocess:
			return "`&`"
		case n.Negated:
			return "`!`"
		case len(n.Redirs) > 0:
			return fmt.Sprintf("`%s`", n.Redirs[0].Op)
		}
	case *syntax.BinaryCmd:
		return fmt.Sprintf("`%s`", n.Op)
	case *syntax.CallExpr, *syntax.File, *syntax.Comment:
	case syntax.Command:
		return "more than a program and its arguments"
	case *syntax.Assign:
		if n.Append {
			return fmt.Sprintf("what it assigns to %s", n.Name.Value)
		}
	case *syntax.ParamExp:
		if !plain(n) {
			return fmt.Sprintf("what it makes of %s", n.Param.Value)
		}
	case *syntax.CmdSubst, *syntax.ProcSubst:
		return "the output of a command"
	case *syntax.ArithmExp:
		return "arithmetic"
	case *syntax.ExtGlob:
		return "a pattern"
	case *syntax.Word:
		return pattern(n)
	}
	return ""
}

// plain tells whether it is $NAME, ${NAME} or ${NAME:-word}.
func plain(n *syntax.ParamExp) bool {
	bare := !n.Excl && !n.Length && !n.Width && n.Index == nil && n.Slice == nil && n.Repl == nil && n.Names == 0
	return bare && syntax.ValidName(n.Param.Value) &&
		(n.Exp == nil || n.Exp.Op == syntax.DefaultUnset || n.Exp.Op == syntax.DefaultUnsetOrNull)
}

// pattern tells of characters outside quotes that a shell would replace by file names or
// several words.
func pattern(word *syntax.Word) string {
	for i, part := range word.Parts {
		literal, ok := part.(*syntax.Lit)
		if !ok {
			continue
		}
		escaped := false
		for at, r := range literal.Value {
			switch {
			case escaped:
				escaped = false
			case r == '\\':
				escaped = true
			case strings.ContainsRune("*?[{", r):
				return fmt.Sprintf("the pattern `%c`", r)
			case r == '~' && at == 0 && i == 0:
				return "`~`"
			}
		}
	}
	return ""
}
