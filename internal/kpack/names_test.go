package kpack

import (
	"fmt"
	"strings"
	"testing"
)

// TestNames tells of names that no two resources can have, and of one that none can.
func TestNames(t *testing.T) {
	const builder = `apiVersion: kpack.io/v1alpha2
kind: %s
metadata: {name: %s, namespace: "%s"}
spec:
  tag: b:1
  stack: {name: s}
  order: [{group: [{id: a/b, image: "p:1"}]}]
---
`
	const stack = `apiVersion: kpack.io/v1alpha2
kind: ClusterStack
metadata: {name: s}
spec: {buildImage: {image: "b:1"}, runImage: {image: "r:1"}}
---
`
	long := strings.Repeat("a", 53)
	tests := []struct{ name, text, says string }{
		{"two namespaces", stack + fmt.Sprintf(builder, "Builder", "b-c", "a") + fmt.Sprintf(builder, "Builder", "c", "a-b"), `another resource became Builder "a-b-c", too`},
		{"a namespace and the cluster", stack + fmt.Sprintf(builder, "Builder", "b", "a") + fmt.Sprintf(builder, "ClusterBuilder", "a-b", ""), `another resource became Builder "a-b", too`},
		{"a long name", strings.Replace(leastImage, "name: shop,", "name: "+long+",", 1), "metadata.name: want at most 52 letters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result, err := Convert([]Input{{Name: "in.yaml", Text: []byte(tt.text)}})
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(result.Notes); !strings.Contains(got, tt.says) {
				t.Errorf("want %s\n got %s", tt.says, got)
			}
		})
	}
}
