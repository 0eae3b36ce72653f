// Package pack takes builders and packaged buildpacks that plimsoll made and gives them to
// pack's own code, and the other way round. It holds only tests.
package pack
