// Package crd takes nothing and gives the custom resource definitions of package v1alpha1, as
// `go generate ./api/...` writes them.
package crd

import "embed"

// Files holds one definition a file.
//
//go:embed *.yaml
var Files embed.FS
