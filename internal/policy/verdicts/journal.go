package verdicts

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
)

// op is what a line of the journal says of an image.
type op byte

const (
	opChanged op = 'c' // its facts are to be gathered
	opUntold  op = 'u' // others are to be told of its verdict
	opDone    op = 32  // what it takes from the lower case of an op to say that it is done
)

// maxLines is how many lines a journal has, beside those still needed, before it is written anew.
const maxLines = 20_000

// task is what remains to be done with an image.
type task struct {
	what  op
	image Image
}

// journal says what remains to be done, so that a process that was killed does not forget it: a
// line each, "c repository@digest", and "C repository@digest" when it is done.
type journal struct {
	path string

	mu    sync.Mutex
	file  *os.File
	torn  bool // the last line may be half a one
	lines int
	last  uint64
	left  map[task]uint64 // by the number of the line that asked for it last
}

func openJournal(path string) (*journal, error) {
	j := &journal{path: path, left: map[task]uint64{}}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, j.fault(err)
	}
	j.read(string(text))
	return j, j.rewrite()
}

// read takes up what lines say.
func (j *journal) read(text string) {
	for line := range strings.Lines(text) {
		// A line that the last process could not finish is none: nobody was promised anything.
		t, done, ok := parseLine(line)
		switch {
		case ok && done:
			delete(j.left, t)
		case ok:
			j.note(t)
		}
	}
}

func parseLine(line string) (t task, done, ok bool) {
	line, whole := strings.CutSuffix(line, "\n")
	at := strings.LastIndexByte(line, '@')
	if !whole || at < 2 || line[1] != ' ' {
		return task{}, false, false
	}
	t = task{op(line[0]), Image{line[2:at], line[at+1:]}}
	if done = t.what == opChanged-opDone || t.what == opUntold-opDone; done {
		t.what += opDone
	}
	return t, done, (t.what == opChanged || t.what == opUntold) && t.image.check() == nil
}

// remaining gives the images with which something is to be done.
func (j *journal) remaining(what op) []Image {
	j.mu.Lock()
	defer j.mu.Unlock()
	var images []Image
	for t := range j.left {
		if t.what == what {
			images = append(images, t.image)
		}
	}
	return images
}

// add says that something is to be done with images; durably, where a caller relies on it.
func (j *journal) add(what op, images []Image, durable bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(images) == 0 {
		return nil
	}
	var text bytes.Buffer
	for _, image := range images {
		writeLine(&text, what, image)
	}
	if err := j.write(text.Bytes(), len(images)); err != nil {
		return err
	}
	for _, image := range images {
		j.note(task{what, image})
	}
	if durable {
		if err := j.file.Sync(); err != nil {
			return j.fault(err)
		}
	}
	return nil
}

// pending gives the number under which something is to be done with an image; 0: it is not.
func (j *journal) pending(what op, image Image) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.left[task{what, image}]
}

// done says that what was pending under the number is done. It is not where it has been asked for
// again meanwhile.
func (j *journal) done(what op, image Image, number uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if number == 0 || j.left[task{what, image}] != number {
		return nil
	}
	delete(j.left, task{what, image})
	var text bytes.Buffer
	writeLine(&text, what-opDone, image)
	return j.write(text.Bytes(), 1)
}

func (j *journal) note(t task) {
	j.last++
	j.left[t] = j.last
}

func writeLine(text *bytes.Buffer, what op, image Image) {
	text.WriteByte(byte(what))
	text.WriteByte(' ')
	text.WriteString(image.Repository)
	text.WriteByte('@')
	text.WriteString(image.Digest)
	text.WriteByte('\n')
}

// write appends lines.
func (j *journal) write(text []byte, lines int) error {
	if j.lines += lines; j.torn || j.lines > maxLines+2*len(j.left) {
		if err := j.rewrite(); err != nil {
			return err
		}
	}
	_, err := j.file.Write(text)
	if j.torn = err != nil; j.torn {
		return j.fault(err)
	}
	return nil
}

// rewrite leaves only the lines that are still needed.
func (j *journal) rewrite() error {
	if err := aside.WriteDurable(j.path, j.needed()); err != nil {
		return j.fault(err)
	}
	file, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return j.fault(err)
	}
	if j.file != nil {
		_ = j.file.Close() // it has no name any more
	}
	j.file, j.lines, j.torn = file, 0, false
	return nil
}

func (j *journal) needed() []byte {
	var text bytes.Buffer
	for t := range j.left {
		writeLine(&text, t.what, t.image)
	}
	return text.Bytes()
}

// close ends it; there may be none.
func (j *journal) close() error {
	if j == nil || j.file == nil {
		return nil
	}
	return j.file.Close()
}

func (j *journal) fault(err error) error {
	return fault.New(fault.Failed, "write the journal of verdicts", j.path, err)
}
