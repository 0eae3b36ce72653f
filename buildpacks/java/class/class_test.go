package class

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// compiled gives a class file that javac made of the source beside it.
func compiled(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/harbour/" + name + ".class")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParse(t *testing.T) {
	for name, want := range map[string]Class{
		"Main":  {Name: "harbour.Main", Main: true},
		"Other": {Name: "harbour.Other"},
	} {
		got, err := Parse(compiled(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	whole := compiled(t, "Main")
	for end := range len(whole) / 2 {
		if c, err := Parse(whole[:end]); err == nil {
			t.Errorf("the first %d bytes are %+v", end, c)
		}
	}
	if _, err := Parse([]byte("#!/bin/sh\n")); err == nil {
		t.Error("a script is a class")
	}
}

func TestChoose(t *testing.T) {
	main, other := &fstest.MapFile{Data: compiled(t, "Main")}, &fstest.MapFile{Data: compiled(t, "Other")}
	for _, c := range []struct {
		name  string
		tree  fstest.MapFS
		named string
		want  string
		err   string
	}{
		{name: "the only one", tree: fstest.MapFS{"harbour/Main.class": main, "harbour/Other.class": other, "a.txt": {Data: []byte("text")}}, want: "harbour.Main"},
		{name: "none", tree: fstest.MapFS{"harbour/Other.class": other}, err: "no class has"},
		{name: "two", tree: fstest.MapFS{"a/Main.class": main, "b/Main.class": main}, err: "several classes"},
		{name: "named of two", tree: fstest.MapFS{"a/Main.class": main, "b/Main.class": main}, named: "harbour.Main", want: "harbour.Main"},
		{name: "named, cannot start", tree: fstest.MapFS{"harbour/Main.class": main, "harbour/Other.class": other}, named: "harbour.Other", err: "harbour.Other is not a class with"},
		{name: "no class file", tree: fstest.MapFS{"Main.class": {Data: []byte("text")}}, err: "no Java class file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Choose(c.tree, c.named)
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q in it", err, c.err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(compiled(f, "Main"))
	f.Add(compiled(f, "Other"))
	f.Add([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x41\xff\xff\x05"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if c, err := Parse(file); err == nil && c.Name == "" {
			t.Errorf("%+v has no name", c)
		}
	})
}
