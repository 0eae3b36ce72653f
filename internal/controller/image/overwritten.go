package image

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// overwritten are the versions of Images that were written over, until the watch cache has newer ones:
// what is found out from them would be written once more, and be refused.
type overwritten struct {
	mu       sync.Mutex
	versions map[types.NamespacedName]string
}

// is says that the Image is one of them. One that is not is what the cache has now.
func (o *overwritten) is(image *v1alpha1.Image) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := client.ObjectKeyFromObject(image)
	if version, ok := o.versions[name]; ok && version == image.ResourceVersion {
		return true
	}
	delete(o.versions, name)
	return false
}

// note says that after was written over before.
func (o *overwritten) note(before, after *v1alpha1.Image) {
	if before.ResourceVersion == after.ResourceVersion {
		return // the API found nothing to write
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.versions == nil {
		o.versions = map[types.NamespacedName]string{}
	}
	o.versions[client.ObjectKeyFromObject(before)] = before.ResourceVersion
}

func (o *overwritten) forget(name types.NamespacedName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.versions, name)
}
