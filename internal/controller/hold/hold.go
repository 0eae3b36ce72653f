// Package hold takes resources for which the home has a file, and gives those that are wanted still:
// none can go before its file has.
package hold

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/homefile"
	"plimsoll.dev/plimsoll/internal/controller/status"
)

// Fetch reads the resource that a file of the home is for, and says whether it is wanted still.
// Before it is, it gets our finalizer, so that it cannot go while nobody is here to remove the
// file. When it goes, remove is called, and then the finalizer lets it.
func Fetch(ctx context.Context, c client.Client, key types.NamespacedName, into client.Object, remove func() error) (wanted bool, err error) {
	if err := c.Get(ctx, key, into); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	before := into.DeepCopyObject().(client.Object)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if into.GetDeletionTimestamp().IsZero() {
		if controllerutil.AddFinalizer(into, v1alpha1.Finalizer) {
			return true, c.Patch(ctx, into, patch)
		}
		return true, nil
	}
	if !controllerutil.ContainsFinalizer(into, v1alpha1.Finalizer) {
		return false, nil // others hold it still
	}
	if err := remove(); err != nil {
		return false, err
	}
	controllerutil.RemoveFinalizer(into, v1alpha1.Finalizer)
	if err := c.Patch(ctx, into, patch); !apierrors.IsNotFound(err) {
		return false, err
	}
	return false, nil
}

// Reason gives that of a condition which is false because the home could not be changed.
func Reason(err error) string {
	switch {
	case errors.Is(err, homefile.ErrSet):
		return status.SetBroken
	case errors.Is(err, homefile.ErrTaken):
		return status.NameTaken
	}
	return status.OfError(err)
}
