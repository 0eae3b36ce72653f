// Package command takes a command line written for a shell and gives the program that it
// runs, for images that have no shell.
package command

import (
	"fmt"
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

// Parse reads one command: words, quotes, and assignments before them. Its error says what
// of a shell the line needs.
func Parse(line string) (Command, error) {
	file, err := syntax.NewParser().Parse(strings.NewReader(line), "")
	if err != nil {
		return Command{}, fmt.Errorf("%q cannot be read: %w", line, err)
	}
	if why := unsupported(file); why != "" {
		return Command{}, fmt.Errorf("%q needs a shell for %s, and the run image has none", line, why)
	}
	if len(file.Stmts) == 0 {
		return Command{}, fmt.Errorf("%q names no program", line)
	}
	call := file.Stmts[0].Cmd.(*syntax.CallExpr)
	var c Command
	for _, assign := range call.Assigns {
		value := ""
		if assign.Value != nil {
			if value, err = literal(assign.Value); err != nil {
				return Command{}, fmt.Errorf("%q cannot be read: %w", line, err)
			}
		}
		c.Env = append(c.Env, Variable{assign.Name.Value, value})
	}
	for _, word := range call.Args {
		text, err := literal(word)
		if err != nil {
			return Command{}, fmt.Errorf("%q cannot be read: %w", line, err)
		}
		c.Args = append(c.Args, text)
	}
	if len(c.Args) > 0 && c.Args[0] == "exec" { // there is no shell that it could replace
		c.Args = c.Args[1:]
	}
	if len(c.Args) == 0 || c.Args[0] == "" {
		return Command{}, fmt.Errorf("%q names no program", line)
	}
	return c, nil
}

// literal gives a word without its quotes. A word in which nothing is expanded is one field.
func literal(word *syntax.Word) (string, error) {
	fields, err := expand.Fields(nil, word)
	return strings.Join(fields, " "), err
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
		return fmt.Sprintf("the value of %s", n.Param.Value)
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
