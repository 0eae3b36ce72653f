// Package oidc takes an OpenID Connect provider that others made, and oras, and gives whether
// plimsoll's logins and tokens work with them.
package oidc
