package cluster

import "context"

type node struct{ name string }

func newNode(c *Cluster) (*node, error)         { return nil, nil }
func (n *node) writeFiles() error               { return nil }
func (n *node) up(ctx context.Context) error    { return nil }
func (n *node) ready(ctx context.Context) error { return nil }
func (n *node) drain(ctx context.Context)       {}
func (n *node) down() error                     { return nil }

// Registry x.
type Registry struct{}
