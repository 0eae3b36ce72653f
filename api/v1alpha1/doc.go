// Package v1alpha1 takes nothing and gives the resources of Plimsoll: what users declare,
// in files today and in a cluster tomorrow. Field conventions are Kubernetes' own.
package v1alpha1

// APIVersion is the group and version that every resource here carries.
const APIVersion = "plimsoll.dev/v1alpha1"
