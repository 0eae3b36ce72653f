package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is APIVersion as apimachinery has it.
var GroupVersion = schema.GroupVersion{Group: "plimsoll.dev", Version: "v1alpha1"}

// AddToScheme makes the resources known to the scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&BaseImage{}, &BaseImageList{},
		&Builder{}, &BuilderList{},
		&Image{}, &ImageList{},
		&Build{}, &BuildList{},
		&ImageImport{}, &ImageImportList{},
		&AdvisoryFeed{}, &AdvisoryFeedList{},
		&ImagePolicy{}, &ImagePolicyList{},
		&PolicyException{}, &PolicyExceptionList{},
		&DependencyOverride{}, &DependencyOverrideList{},
		&Patch{}, &PatchList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
