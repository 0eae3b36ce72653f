package testbed

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is who runs the server for root, which PostgreSQL refuses to run for.
const nobody = 65534

// Postgres starts a PostgreSQL server of the test's own, on a socket in a folder that no
// other user may enter, and gives the address of its database "postgres". It does not
// wait for the disk: what a test writes need not outlast a power cut.
func Postgres(t testing.TB) string {
	t.Helper()
	programs := postgresPrograms(t)
	folder, err := os.MkdirTemp("", "pg") // a socket's path is at most 107 bytes: t.TempDir's can be longer
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	var who *syscall.Credential
	if os.Getuid() == 0 {
		if err := os.Chown(folder, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		who = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	data := filepath.Join(folder, "data")
	initdb := exec.Command(filepath.Join(programs, "initdb"), "-D", data, "-U", "plimsoll", "-E", "UTF8", "--locale=C", "--no-sync", "--auth=trust")
	initdb.Dir, initdb.SysProcAttr = folder, &syscall.SysProcAttr{Credential: who}
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	var log bytes.Buffer
	server := exec.Command(filepath.Join(programs, "postgres"), "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off")
	server.Dir, server.Stdout, server.Stderr = folder, &log, &log
	server.SysProcAttr = &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGQUIT}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = server.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT) // a fast shutdown
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			t.Fatalf("postgres ended:\n%s", log.String())
		default:
		}
		// Its eighth line is the server's state.
		if lines := strings.Split(readFile(filepath.Join(data, "postmaster.pid")), "\n"); len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready" {
			return fmt.Sprintf("postgres://plimsoll@/postgres?host=%s", folder)
		}
		if time.Now().After(deadline) {
			t.Fatal("postgres is not ready within a minute")
		}
	}
}

func readFile(path string) string {
	text, _ := os.ReadFile(path) // it is not there yet
	return string(text)
}

// postgresPrograms gives the folder of the newest server: Debian keeps them out of PATH.
func postgresPrograms(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Fatal("postgresql is not installed: run `make setup`")
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1])
}
