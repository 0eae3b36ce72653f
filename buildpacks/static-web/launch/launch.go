// Package launch takes the environment that an image is started with and gives what the
// web server's configuration asks of it.
package launch

import (
	"fmt"
	"maps"
	"net"
	"os"
	"strconv"
)

// Environment is a program of the launcher's exec.d
// (https://github.com/buildpacks/spec/blob/main/buildpack.md#execd). Its zero value is what
// a program wants.
type Environment struct {
	Getenv    func(name string) string   // nil means this machine, for all three
	Listen    func(address string) error // fails when the address cannot be listened on
	Writeable func(path string) error    // fails when the file cannot be opened for writing
}

// Defaults gives the variables that the configuration asks of the environment, with the
// values that work on most machines: WEB_BIND is the address, all of IPv6 and IPv4;
// WEB_ACCESS_LOG is a file.
func Defaults() map[string]string {
	return map[string]string{"PORT": "8080", "WEB_BIND": "[::]", "WEB_ACCESS_LOG": "/dev/null"}
}

// Execute gives the variables that are missing, with the values that are best for this
// machine: without IPv6 only IPv4 is bound, and requests are logged to the error output
// when that may be opened by its name, which a socket may not.
func (e Environment) Execute() (map[string]string, error) {
	if e.Getenv == nil {
		e = Environment{Getenv: os.Getenv, Listen: listen, Writeable: writeable}
	}
	if port := e.Getenv("PORT"); port != "" && !valid(port) {
		return nil, fmt.Errorf("static-web: PORT %q is not a number from 1 to 65535", port)
	}
	missing := Defaults()
	if e.Listen("[::]:0") != nil {
		missing["WEB_BIND"] = "0.0.0.0"
	}
	if e.Writeable("/dev/stderr") == nil {
		missing["WEB_ACCESS_LOG"] = "/dev/stderr"
	}
	maps.DeleteFunc(missing, func(name, _ string) bool { return e.Getenv(name) != "" })
	return missing, nil
}

func valid(port string) bool {
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number > 0
}

func listen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

func writeable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
