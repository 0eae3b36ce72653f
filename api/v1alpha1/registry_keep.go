package v1alpha1

// RegistryQuota bounds what a project may hold.
type RegistryQuota struct{}

// RegistryRetention says which tags of a project stay.
type RegistryRetention struct{}

// RegistryWebhook is told of what happens.
type RegistryWebhook struct{}

// RegistryAudit says how the audit log is kept.
type RegistryAudit struct{}
