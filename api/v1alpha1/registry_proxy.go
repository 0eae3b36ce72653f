package v1alpha1

// RegistryProxy fills a project from another registry.
type RegistryProxy struct{}
