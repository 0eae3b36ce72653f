package registry

import (
	"context"
	"errors"

	"github.com/distribution/distribution/v3/configuration"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"plimsoll.dev/plimsoll/internal/fault"
)

// probe asks an object store for one path: the drivers reach for it only with the first
// request, and a wrong key or bucket is to be told by who opens the registry.
func probe(ctx context.Context, driver storagedriver.StorageDriver, config *configuration.Configuration) error {
	_, err := driver.Stat(ctx, layoutRoot)
	if err == nil || isMissing(err) {
		return nil
	}
	which := config.Storage.Type()
	if bucket, ok := config.Storage.Parameters()["bucket"].(string); ok {
		which += ":" + bucket
	}
	if f := objectStoreFault("open registry storage", which, err); f != nil {
		return f
	}
	return badStorage(config, err)
}

// answered is what the S3 client's errors tell (github.com/aws/aws-sdk-go/aws/awserr).
type answered interface {
	error
	Code() string
	Message() string
	OrigErr() error
}

// objectStoreFault says what an object store's refusal means for the configuration; nil
// when err is none. The codes are those of the S3 API reference, "Error responses", of
// servers that have their own for the same, and of the client for a server that did not
// answer and for credentials it did not find.
func objectStoreFault(what, which string, err error) *fault.Error {
	// The driver's error hides its cause from errors.As.
	if wrapped := (storagedriver.Error{}); errors.As(err, &wrapped) {
		err = wrapped.Detail
	}
	var said answered
	if !errors.As(err, &said) {
		return nil
	}
	// Its own text goes on with ids and tabs.
	why := errors.New(said.Code() + ": " + said.Message())
	kind, hint := fault.Failed, "check the storage section of the registry configuration"
	switch said.Code() {
	case "NoSuchBucket":
		kind, hint = fault.NotFound, "make the bucket, or correct `bucket` in the registry configuration"
	case "SignatureDoesNotMatch", "InvalidAccessKeyId", "XAdminUserNotFound", "AccessDenied", "Forbidden", "InvalidToken", "ExpiredToken":
		hint = "check `accesskey` and `secretkey` in the registry configuration, and what the account may do with the bucket"
	case "NoCredentialProviders":
		hint = "give `accesskey` and `secretkey` in the registry configuration, or this machine credentials"
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "BucketRegionError":
		hint = "correct `region` or `regionendpoint` in the registry configuration"
	case "RequestError":
		kind, why = fault.Unavailable, said.OrigErr()
		hint = "check that the object store runs, and `regionendpoint` and `secure` in the registry configuration"
	}
	return fault.New(kind, what, which, why).WithHint(hint)
}
