package class

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Choose gives the class to start among the class files of a tree: the one that is named,
// or else the only one that can be started.
func Choose(tree fs.FS, named string) (string, error) {
	var mains []string
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".class") {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		c, err := Parse(text)
		if c.Main {
			mains = append(mains, c.Name)
		}
		return err
	})
	switch {
	case err != nil:
		return "", err
	case named != "" && slices.Contains(mains, named):
		return named, nil
	case named != "":
		return "", fmt.Errorf("%s is not a class with public static void main(String[])", named)
	case len(mains) == 0:
		return "", errors.New("no class has public static void main(String[])")
	case len(mains) > 1:
		return "", fmt.Errorf("several classes have public static void main(String[]) (%s)", strings.Join(mains, ", "))
	}
	return mains[0], nil
}
