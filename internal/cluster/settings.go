package cluster

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// settings are what is chosen when a cluster first starts and then kept, so that kubeconfigs
// stay true.
type settings struct {
	path string

	APIPort  int     `json:"apiPort"`
	EtcdPort int     `json:"etcdPort"`
	PeerPort int     `json:"peerPort"`
	Network  network `json:"network"`
}

// openSettings reads the settings, or chooses them. A port that was kept and is taken now is
// chosen anew, but not the API's: kubeconfigs outside of the folder name it.
func openSettings(path string) (*settings, error) {
	s := &settings{path: path}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Failed, "read the cluster's settings", path, err).
			WithHint("remove the file to have ports chosen again")
	}
	if s.APIPort != 0 && !freeSoon(s.APIPort) {
		return nil, fault.Newf(fault.Unavailable, "start the API server", "port "+strconv.Itoa(s.APIPort), "another program listens on it").
			WithHint("end that program, or remove " + path + " to have another port chosen")
	}
	if !s.Network.Base.IsValid() {
		if s.Network, err = chooseNetwork(filepath.Dir(path)); err != nil {
			return nil, fault.New(fault.Failed, "choose the cluster's network", path, err)
		}
	}
	for _, port := range []*int{&s.APIPort, &s.EtcdPort, &s.PeerPort} {
		for *port == 0 || !free(*port) {
			*port = choosePort()
		}
	}
	return s, s.save()
}

func (s *settings) save() error {
	text, err := json.Marshal(s)
	if err == nil {
		err = aside.WriteDurable(s.path, append(text, '\n'))
	}
	if err != nil {
		return fault.New(fault.Failed, "keep the cluster's settings", s.path, err)
	}
	return nil
}

// choosePort gives a port below those that the kernel gives to clients (from 32768 on), so that
// none of them ever has it while a part of ours restarts.
func choosePort() int { return 20000 + rand.IntN(12000) }

// freeSoon is free for a port that a process may hold which was killed a moment ago.
func freeSoon(port int) bool {
	for deadline := time.Now().Add(2 * time.Second); !free(port); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func free(port int) bool {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
