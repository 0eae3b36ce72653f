package call

import (
	"context"
	"net/http"
)

// Action is what somebody may do in a repository.
type Action string

// The actions.
const (
	ActionPull    Action = "pull"    // read what is released, and list it
	ActionPush    Action = "push"    // write
	ActionDelete  Action = "delete"  // remove manifests and tags
	ActionInspect Action = "inspect" // read what is quarantined, too
	ActionApprove Action = "approve" // grant exceptions, and move tags that are immutable
	ActionAdmin   Action = "admin"   // change members, robots, quotas
	ActionList    Action = "list"    // list the repositories of the whole registry
	ActionAudit   Action = "audit"   // read the audit log of the whole registry
)

// Principal is who asks.
type Principal struct {
	Name string // "alice", "robot+ci", "https://issuer#subject"; "" is anybody

	// May says whether it may do that in a repository; the repository is "" for ActionList and ActionAudit.
	May func(action Action, repository string) bool

	// Ask answers with 401 and where tokens are to be had. nil of whoever has shown something, a token
	// for anybody too: asked again, he would show the same.
	Ask func(w http.ResponseWriter, message string)
}

type principalKey struct{}

// WithPrincipal gives a context in which that one asks.
func WithPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf gives who asks; nil where nobody was asked who he is, as within this process:
// that one may do everything.
func PrincipalOf(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}
