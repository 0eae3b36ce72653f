package v1alpha1

// ConditionFresh says that what lies outside was looked at, and that what it says now is in what
// the resource published. While it is false the last image stays, and Ready with it.
const ConditionFresh = "Fresh"
