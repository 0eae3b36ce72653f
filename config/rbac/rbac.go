// Package rbac takes nothing and gives the roles of Plimsoll: what its controllers may do, and what
// people who work with its resources may.
package rbac

import "embed"

// Files holds controllers.yaml and users.yaml, each of several objects. Their namespaces,
// plimsoll-system and plimsoll-steps, must be there.
//
//go:embed *.yaml
var Files embed.FS

// Users holds users.yaml: what people may do, which `plimsoll up` declares beside the resources.
//
//go:embed users.yaml
var Users embed.FS
