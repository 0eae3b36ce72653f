package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/buildpacks/java/jar"
)

// executableJar stands for the content of a jar that can be started.
const executableJar = "JAR"

// folder makes a folder with the files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if text == executableJar {
			err = jar.Write(path, "shop.Main", fstest.MapFS{})
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		jar   string // BP_JAVA_JAR
		want  App
		err   string
	}{
		{name: "a jar", files: map[string]string{"app.jar": executableJar, "lib/x.jar": executableJar}, want: App{Jar: "app.jar"}},
		{
			name:  "what Maven leaves",
			files: map[string]string{"pom.xml": "<dependency>", "src/main/java/A.java": "", "target/shop-1.jar": executableJar, "target/original-shop-1.jar": executableJar, "target/shop-1-sources.jar": executableJar},
			want:  App{Jar: "target/shop-1.jar"},
		},
		{name: "what Gradle leaves", files: map[string]string{"build/libs/shop.jar": executableJar, "build/libs/shop-plain.jar": executableJar}, want: App{Jar: "build/libs/shop.jar"}},
		{name: "two jars", files: map[string]string{"a.jar": executableJar, "b.jar": executableJar}, err: "several executable jars (a.jar, b.jar): name one with BP_JAVA_JAR"},
		{name: "two jars, one named", files: map[string]string{"a.jar": executableJar, "b.jar": executableJar}, jar: "b.jar", want: App{Jar: "b.jar"}},
		{name: "named outside", jar: "../x.jar", err: "BP_JAVA_JAR"},
		{name: "named, not executable", files: map[string]string{"a.jar": "text"}, jar: "a.jar", err: "Main-Class"},
		{
			name:  "sources",
			files: map[string]string{"src/main/java/shop/Main.java": "", "src/main/java/shop/A.java": "", "src/test/java/T.java": "", "src/main/resources/a.txt": "", "lib/x.jar": "", "pom.xml": "<dependency>"},
			want: App{
				Sources: []string{"src/main/java/shop/A.java", "src/main/java/shop/Main.java"}, Root: "src/main/java",
				Resources: "src/main/resources", Libraries: []string{"lib/x.jar"},
			},
		},
		{name: "sources in src", files: map[string]string{"src/shop/Main.java": "", "src/test/T.java": ""}, want: App{Sources: []string{"src/shop/Main.java"}, Root: "src"}},
		{name: "a source", files: map[string]string{"Main.java": "", "tools/T.java": ""}, want: App{Sources: []string{"Main.java"}, Root: "."}},
		{name: "dependencies of Maven", files: map[string]string{"src/main/java/A.java": "", "pom.xml": "<dependencies>\n<dependency>"}, err: "pom.xml names dependencies, and no build tool for Java is here: build the jar first (mvn package)"},
		{name: "dependencies of Gradle", files: map[string]string{"src/main/java/A.java": "", "build.gradle.kts": "dependencies {\n    implementation(\"a:b:1\")\n}\n"}, err: "gradle build"},
		{name: "Maven without dependencies", files: map[string]string{"src/main/java/A.java": "", "pom.xml": "<project/>"}, want: App{Sources: []string{"src/main/java/A.java"}, Root: "src/main/java"}},
		{name: "nothing", files: map[string]string{"a.jar": "no archive", "deep/er/A.java": ""}, err: "no executable jar (*.jar, target/*.jar, build/libs/*.jar), src/main/java or *.java"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Find(folder(t, c.files), func(string) string { return c.jar })
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q in it", err, c.err)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
