package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// What a pod says of the network it wants, in an annotation that containerd hands to plugins
// which ask for this capability.
const (
	annotations = "io.kubernetes.cri.pod-annotations"
	wish        = "plimsoll.dev/network"
)

// alone is the address of a pod without a network. RFC 7600 sets it aside for interfaces that
// have to have one and lead nowhere.
const alone = "192.0.0.8/32"

// config is what this plugin reads of its configuration
// (https://www.cni.dev/docs/spec, section 1 and 3).
type config struct {
	CNIVersion string         `json:"cniVersion"`
	Name       string         `json:"name"`
	Delegate   map[string]any `json:"delegate"`
}

// plug does what CNI_COMMAND says and gives the exit status.
func plug() int {
	answer, err := command(os.Getenv("CNI_COMMAND"), os.Stdin)
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed): // the delegate's answer says why
		os.Stdout.Write(answer)
		return failed.ExitCode()
	case err != nil:
		answer, _ = json.Marshal(map[string]any{"cniVersion": "1.0.0", "code": 100, "msg": err.Error()})
		os.Stdout.Write(answer)
		return 1
	}
	os.Stdout.Write(answer)
	return 0
}

func command(name string, in io.Reader) ([]byte, error) {
	if name == "VERSION" {
		return []byte(`{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}`), nil
	}
	text, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return nil, err
	}
	c, wanted, err := read(text)
	if err != nil {
		return nil, err
	}
	switch {
	case name == "DEL":
		return delegate(c) // it finds nothing to do for a pod that is alone
	case wanted == "":
		return delegate(c)
	case wanted != "none":
		return nil, fmt.Errorf("annotation %s: want \"none\" or no annotation, got %q", wish, wanted)
	case name == "ADD":
		return leaveAlone(c)
	}
	return nil, nil // CHECK
}

// read gives the configuration and the pod's wish.
func read(text []byte) (config, string, error) {
	var c config
	var runtimeConfig struct {
		RuntimeConfig map[string]json.RawMessage `json:"runtimeConfig"`
	}
	if err := errors.Join(json.Unmarshal(text, &c), json.Unmarshal(text, &runtimeConfig)); err != nil {
		return c, "", fmt.Errorf("read the configuration: %w", err)
	}
	var said map[string]string
	if raw := runtimeConfig.RuntimeConfig[annotations]; len(raw) > 0 {
		if err := json.Unmarshal(raw, &said); err != nil {
			return c, "", fmt.Errorf("read the pod's annotations: %w", err)
		}
	}
	if c.Delegate == nil {
		return c, "", errors.New("the configuration has no delegate")
	}
	return c, said[wish], nil
}

// leaveAlone gives the pod an interface whose other end is in the pod too, and down: there is no
// way out of it.
func leaveAlone(c config) ([]byte, error) {
	name, path := os.Getenv("CNI_IFNAME"), os.Getenv("CNI_NETNS")
	runtime.LockOSThread() // the process ends before this thread does anything else
	space, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := netns.Set(space); err != nil {
		return nil, fmt.Errorf("enter %s: %w", path, err)
	}
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "nowhere"}
	if err := netlink.LinkAdd(link); err != nil {
		return nil, fmt.Errorf("make interface %s: %w", name, err)
	}
	address, err := netlink.ParseAddr(alone)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(netlink.AddrAdd(link, address), netlink.LinkSetUp(link)); err != nil {
		return nil, fmt.Errorf("set up interface %s: %w", name, err)
	}
	return json.Marshal(map[string]any{
		"cniVersion": c.CNIVersion,
		"interfaces": []any{map[string]string{"name": name, "sandbox": path}},
		"ips":        []any{map[string]any{"address": alone, "interface": 0}},
	})
}

// delegate has the plugin that the configuration names do the same, beside this program.
func delegate(c config) ([]byte, error) {
	c.Delegate["cniVersion"], c.Delegate["name"] = c.CNIVersion, c.Name
	text, err := json.Marshal(c.Delegate)
	if err != nil {
		return nil, err
	}
	kind, _ := c.Delegate["type"].(string)
	if kind == "" || kind != filepath.Base(kind) {
		return nil, fmt.Errorf("the delegate's type %q is no plugin", kind)
	}
	plugin := exec.Command(filepath.Join(filepath.Dir(os.Args[0]), kind))
	plugin.Stdin, plugin.Stderr = bytes.NewReader(text), os.Stderr
	return plugin.Output()
}
