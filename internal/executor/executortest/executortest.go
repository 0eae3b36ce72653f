// Package executortest takes an Executor and gives the proof that it keeps the contract of
// package executor: every adapter runs this suite against the real thing.
package executortest
