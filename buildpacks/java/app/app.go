// Package app takes a folder and gives the Java application in it: a jar to run, or sources
// to compile.
package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/java/jar"
)

// EnvJar names the jar to run, where there are several.
const EnvJar = "BP_JAVA_JAR"

// App is a Java application. It has a Jar or Sources.
type App struct {
	Jar       string   // relative to the folder
	Sources   []string // relative to the folder, sorted
	Root      string   // the folder of the sources, relative
	Resources string   // the folder of files that are put beside the classes, relative; "" when there is none
	Libraries []string // jars that the sources need, relative
}

// Find looks for an executable jar, then for sources. The error says in one line what was
// looked for, or what else is needed.
func Find(folder string, getenv func(string) string) (App, error) {
	if named := getenv(EnvJar); named != "" {
		named = filepath.Clean(named)
		if !filepath.IsLocal(named) || jar.Main(filepath.Join(folder, named)) == "" {
			return App{}, fmt.Errorf("%s %q is not an executable jar of the application: its manifest must have a Main-Class", EnvJar, named)
		}
		return App{Jar: named}, nil
	}
	found, err := executable(folder)
	if err != nil {
		return App{}, err
	}
	if found != "" {
		return App{Jar: found}, nil
	}
	return sources(folder)
}

// executable gives the only executable jar of the first folder that has any.
func executable(folder string) (string, error) {
	for _, place := range []string{".", "target", "build/libs"} {
		files, err := filepath.Glob(filepath.Join(folder, place, "*.jar"))
		if err != nil {
			return "", err
		}
		var found []string
		for _, file := range files {
			if name := filepath.Base(file); !beside.MatchString(name) && jar.Main(file) != "" {
				found = append(found, filepath.Join(place, name))
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return "", fmt.Errorf("several executable jars (%s): name one with %s", strings.Join(found, ", "), EnvJar)
		}
	}
	return "", nil
}

// beside matches the jars that build tools leave beside the one to run.
var beside = regexp.MustCompile(`^original-|-(sources|javadoc|tests|plain)\.jar$`)

func sources(folder string) (App, error) {
	for _, root := range []string{"src/main/java", "src", "."} {
		files, err := below(folder, root)
		if err != nil {
			return App{}, err
		}
		if files == nil {
			continue
		}
		a := App{Sources: files, Root: root}
		if info, err := os.Stat(filepath.Join(folder, "src/main/resources")); err == nil && info.IsDir() {
			a.Resources = "src/main/resources"
		}
		libraries, err := filepath.Glob(filepath.Join(folder, "lib", "*.jar"))
		if err != nil {
			return App{}, err
		}
		for _, file := range libraries {
			a.Libraries = append(a.Libraries, filepath.Join("lib", filepath.Base(file)))
		}
		return a, complete(folder, a)
	}
	return App{}, errors.New("no executable jar (*.jar, target/*.jar, build/libs/*.jar), src/main/java or *.java")
}

// below gives the Java files of a folder of sources; of the application's own folder only
// those that lie in it directly, for others below it may be anything.
func below(folder, root string) ([]string, error) {
	var files []string
	top := filepath.Join(folder, root)
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path == top:
			return fs.SkipAll
		case err != nil:
			return err
		case entry.IsDir() && path != top && (root == "." || entry.Name() == "test"):
			return fs.SkipDir
		case entry.Type().IsRegular() && strings.HasSuffix(path, ".java"):
			name, err := filepath.Rel(folder, path)
			files = append(files, name)
			return err
		}
		return nil
	})
	slices.Sort(files)
	return files, err
}

// buildFiles are the files of build tools, with what says that there are dependencies.
var buildFiles = []struct {
	name         string
	dependencies *regexp.Regexp
	command      string
}{
	{"pom.xml", regexp.MustCompile(`<dependency>`), "mvn package"},
	{"build.gradle", regexp.MustCompile(`(?m)^\s*(implementation|api|runtimeOnly|compileOnly)\b`), "gradle build"},
	{"build.gradle.kts", regexp.MustCompile(`(?m)^\s*(implementation|api|runtimeOnly|compileOnly)\b`), "gradle build"},
}

// complete refuses sources whose dependencies only a build tool could fetch.
func complete(folder string, a App) error {
	if a.Libraries != nil {
		return nil
	}
	for _, file := range buildFiles {
		text, err := os.ReadFile(filepath.Join(folder, file.name))
		if err == nil && file.dependencies.Match(text) {
			return fmt.Errorf("%s names dependencies, and no build tool for Java is here: build the jar first (%s), or put the jars that are needed into lib/", file.name, file.command)
		}
	}
	return nil
}
