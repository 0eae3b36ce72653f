package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFramesArriveAsTheyWereSent(t *testing.T) {
	var stream bytes.Buffer
	c := New(&stream, &stream)
	job := Job{Command: []string{"sh"}, Env: []string{"A=1"}, Wall: time.Second, Returned: []string{"disk/0"}}
	if err := errors.Join(c.SendJSON(Setup, job), c.Send(Stdout, nil), c.Send(Stderr, bytes.Repeat([]byte("x"), MaxPiece)), c.SendCredit(7)); err != nil {
		t.Fatal(err)
	}
	kind, payload, err := c.Read()
	var got Job
	if err := errors.Join(err, json.Unmarshal(payload, &got)); err != nil || kind != Setup {
		t.Fatalf("%q, %v", kind, err)
	}
	if diff := cmp.Diff(job, got); diff != "" {
		t.Errorf("the job (-sent +got):\n%s", diff)
	}
	if kind, payload, err := c.Read(); kind != Stdout || len(payload) != 0 || err != nil {
		t.Errorf("nothing on stdout: %q, %d bytes, %v", kind, len(payload), err)
	}
	if kind, payload, err := c.Read(); kind != Stderr || len(payload) != MaxPiece || err != nil {
		t.Errorf("a whole piece: %q, %d bytes, %v", kind, len(payload), err)
	}
	if kind, payload, err := c.Read(); kind != Credit || err != nil {
		t.Errorf("credit: %q, %v", kind, err)
	} else if n, err := CreditOf(payload); n != 7 || err != nil {
		t.Errorf("credit: %d, %v", n, err)
	}
	if _, _, err := c.Read(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestABadStreamIsAnError(t *testing.T) {
	frame := func(kind Kind, claims uint32, has int) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{byte(kind)}, claims), make([]byte, has)...)
	}
	for name, raw := range map[string][]byte{
		"ends in a header":      {byte(Stdout), 0},
		"ends in a payload":     frame(Stdout, 10, 9),
		"ends before a payload": frame(Stdout, 10, 0),
		"too long":              frame(Stdout, MaxPiece+1, MaxPiece+1),
		"far too long a job":    frame(Setup, 1<<31, 100),
	} {
		if kind, payload, err := New(bytes.NewReader(raw), io.Discard).Read(); err == nil || err == io.EOF {
			t.Errorf("%s: got %q with %d bytes, %v", name, kind, len(payload), err)
		}
	}
	if err := New(nil, io.Discard).SendJSON(Exit, Problem{Why: string(make([]byte, MaxPiece))}); err == nil {
		t.Error("a message longer than a piece was sent")
	}
}

// TestMemoryGrowsWithWhatComes: a header alone cannot have 16 MiB set aside.
func TestMemoryGrowsWithWhatComes(t *testing.T) {
	raw := append(binary.BigEndian.AppendUint32([]byte{byte(Setup)}, maxJob), make([]byte, 100)...)
	c := New(bytes.NewReader(raw), io.Discard)
	if _, _, err := c.Read(); err == nil {
		t.Fatal("the frame had an end")
	}
	if cap(c.buf) > 2*MaxPiece {
		t.Errorf("%d bytes were set aside for 100", cap(c.buf))
	}
}

// TestSenderWaits: no more than a window goes without credit, and nothing is lost.
func TestSenderWaits(t *testing.T) {
	r, w := io.Pipe()
	s := NewSender(New(nil, w))
	sent := make(chan error, 1)
	data := bytes.Repeat([]byte("0123456789abcdef"), Window/8) // two windows
	go func() {
		_, err := s.Writer(Stdout).Write(data)
		sent <- errors.Join(err, w.Close())
	}()
	in := New(r, nil)
	var got []byte
	for {
		kind, payload, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil || kind != Stdout {
			t.Fatalf("%q, %v", kind, err)
		}
		if got = append(got, payload...); len(got) == Window {
			select {
			case err := <-sent:
				t.Fatalf("two windows went with the credit of one: %v", err)
			default:
			}
			s.Grant(Window / 2)
			s.Grant(Window / 2)
		}
	}
	if err := <-sent; err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes arrived, %v", len(got), len(data), err)
	}
	s.Close()
	if err := s.Send(Stdout, []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("after its end: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	var seed bytes.Buffer
	c := New(nil, &seed)
	if err := errors.Join(c.SendJSON(Setup, Job{Command: []string{"true"}}), c.Send(Input, []byte("tar")), c.SendCredit(1), c.Send(Beat, nil)); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Add([]byte{'O', 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, left := New(bytes.NewReader(raw), io.Discard), len(raw)
		for {
			kind, payload, err := c.Read()
			if err != nil {
				return
			}
			if left -= header + len(payload); left < 0 || len(payload) > limit(kind) {
				t.Fatalf("a frame %q of %d bytes came from %d", kind, len(payload), len(raw))
			}
			if n, err := CreditOf(payload); kind == Credit && err == nil && n > Window {
				t.Fatalf("a credit of %d", n)
			}
		}
	})
}
