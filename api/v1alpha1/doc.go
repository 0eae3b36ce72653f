// Package v1alpha1 takes nothing and gives the resources of Plimsoll: what users declare,
// in files and in a cluster. Field conventions are Kubernetes' own.
//
// +kubebuilder:object:generate=true
// +groupName=plimsoll.dev
package v1alpha1

// APIVersion is the group and version that every resource here carries.
const APIVersion = "plimsoll.dev/v1alpha1"

//go:generate go tool controller-gen object paths=.
//go:generate go tool controller-gen crd:maxDescLen=4096 paths=. output:crd:dir=../../config/crd
//go:generate rm ../../config/crd/plimsoll.dev_registries.yaml
