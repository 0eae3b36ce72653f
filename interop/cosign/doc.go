// Package cosign takes images that plimsoll signed and gives what cosign and Kyverno make
// of them, and the other way round.
package cosign
