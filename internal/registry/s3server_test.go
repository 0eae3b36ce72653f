package registry_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/credentials"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/s3"
)

const (
	s3Access = "harbourmaster"
	s3Secret = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYmouth" // of the test's own server only
	s3Region = "us-east-1"
)

// s3Server is an S3 server, in a process of its own, over a folder.
type s3Server struct {
	addr   string
	folder string // holds a folder a bucket
}

// startS3 builds the server that conformance/s3 pins and runs it until the test ends.
func startS3(t *testing.T) *s3Server {
	t.Helper()
	program := buildPinned(t, "conformance/s3", "github.com/versity/versitygw/cmd/versitygw")
	s := &s3Server{addr: freeAddr(t), folder: t.TempDir()}
	var said bytes.Buffer
	cmd := exec.Command(program, "--quiet", "--port", s.addr, "--region", s3Region, "posix", s.folder)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s3Access, "ROOT_SECRET_KEY="+s3Secret)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err == nil {
			conn.Close()
			return s
		}
		select {
		case <-ended:
			t.Fatalf("the S3 server ended:\n%s", said.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("the S3 server does not answer: %v", err)
		}
	}
}

// freeAddr gives a loopback address at which nothing listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *s3Server) client(t *testing.T) *s3.S3 {
	t.Helper()
	opened, err := session.NewSession(aws.NewConfig().
		WithCredentials(credentials.NewStaticCredentials(s3Access, s3Secret, "")).
		WithEndpoint("http://" + s.addr).WithRegion(s3Region).WithS3ForcePathStyle(true))
	if err != nil {
		t.Fatal(err)
	}
	return s3.New(opened)
}

// bucket makes one and gives its name.
func (s *s3Server) bucket(t *testing.T, name string) string {
	t.Helper()
	if _, err := s.client(t).CreateBucket(&s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return name
}

// empty deletes what lies under a prefix of the bucket.
func (s *s3Server) empty(t *testing.T, bucket, prefix string) (deleted int) {
	t.Helper()
	client := s.client(t)
	err := client.ListObjectsV2Pages(&s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix},
		func(page *s3.ListObjectsV2Output, _ bool) bool {
			for _, object := range page.Contents {
				if _, err := client.DeleteObject(&s3.DeleteObjectInput{Bucket: &bucket, Key: object.Key}); err != nil {
					t.Fatal(err)
				}
				deleted++
			}
			return true
		})
	if err != nil {
		t.Fatal(err)
	}
	return deleted
}

// age makes all that is in the bucket look last modified so long ago.
func (s *s3Server) age(t *testing.T, bucket string, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	err := filepath.WalkDir(filepath.Join(s.folder, bucket), func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(p, then, then)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// s3Config is a registry's configuration, as docs/registry.md shows it.
const s3Config = `version: 0.1
http:
  secret: one-of-all-servers
storage:
  s3:
    accesskey: %s
    secretkey: %s
    region: %s
    regionendpoint: http://%s
    forcepathstyle: true
    secure: false
    bucket: %s
`

// config writes the configuration of a registry in the bucket.
func (s *s3Server) config(t *testing.T, bucket string) string {
	t.Helper()
	return writeConfig(t, fmt.Sprintf(s3Config, s3Access, s3Secret, s3Region, s.addr, bucket))
}

func writeConfig(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "registry.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
