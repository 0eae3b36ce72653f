package source_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/source"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// sshServer serves git-upload-pack on loopback to the holder of the client's key.
func (b *bed) sshServer(hostKey ed25519.PrivateKey, client ssh.PublicKey) (port int) {
	b.Helper()
	signer, err := ssh.NewSignerFromKey(hostKey)
	if err != nil {
		b.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.Marshal()) {
			return nil, fmt.Errorf("an unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go b.sshSession(c, config)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

func (b *bed) sshSession(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, asked, err := offered.Accept()
		if err != nil {
			return
		}
		for request := range asked {
			if request.Type != "exec" {
				_ = request.Reply(request.Type == "env", nil)
				continue
			}
			_ = request.Reply(true, nil)
			// The command is a string of SSH's wire format (RFC 4254, 6.5).
			command := exec.Command("sh", "-c", string(request.Payload[4:]))
			command.Env, command.Stdout, command.Stderr = b.env, channel, channel.Stderr()
			in, err := command.StdinPipe() // which Wait closes: the client sends no end
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(in, channel) }()
			status := binary.BigEndian.AppendUint32(nil, 0)
			if err := command.Run(); err != nil {
				status = binary.BigEndian.AppendUint32(nil, 1)
			}
			_, _ = channel.SendRequest("exit-status", false, status)
			channel.Close()
		}
	}
}

func (b *bed) key(file string) (ed25519.PrivateKey, ssh.PublicKey) {
	b.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(b.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
		b.Fatal(err)
	}
	shown, err := ssh.NewPublicKey(public)
	if err != nil {
		b.Fatal(err)
	}
	return private, shown
}

func TestGitOverSSH(t *testing.T) {
	testbed.Tool(t, "ssh")
	b := newBed(t)
	commit := b.repository("app", app)
	hostKey, hostPublic := b.key("host")
	_, clientPublic := b.key("client")
	b.key("stranger")
	port := b.sshServer(hostKey, clientPublic)
	line := fmt.Sprintf("[127.0.0.1]:%d %s", port, ssh.MarshalAuthorizedKey(hostPublic))
	b.write("known_hosts", line)
	// OpenSSH looks for the user's files in the home that the system knows, not in HOME.
	configured := func(key, known string) {
		b.write("home/.gitconfig", fmt.Sprintf("[core]\n\tsshCommand = ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -i %s -o UserKnownHostsFile=%s\n", b.path(key), b.path(known)))
	}
	configured("client", "known_hosts")
	location := fmt.Sprintf("ssh://git@127.0.0.1:%d%s", port, b.path("app"))
	s, files := b.fetch(b.fetcher(), location+"#main:web", source.Options{})
	if s.Revision != commit || files["index.html"] != app["web/index.html"] || s.Location != location || strings.Contains(s.Location, "#") {
		t.Errorf("got %+v, %v", s, files)
	}
	b.refused(b.fetcher(), location+"none", source.Options{}, fault.NotFound, "not appear to be a git repository")
	configured("stranger", "known_hosts")
	b.refused(b.fetcher(), location, source.Options{}, fault.Denied, "Permission denied")
	configured("client", "no_hosts")
	b.refused(b.fetcher(), location, source.Options{}, fault.Denied, "Host key verification failed")
	// Without any configuration ssh must not ask about the unknown host.
	b.write("home/.gitconfig", "")
	b.refused(b.fetcher(), location, source.Options{}, fault.Denied, "Host key verification failed")
}
