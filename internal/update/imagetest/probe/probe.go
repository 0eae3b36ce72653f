// Package probe takes a program and a request and gives what the program answers: it is what
// runs inside of a sandbox, beside the image's own program, where nobody else can reach it.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Argument is the first argument of a program that is to be a probe; the second is a Check.
const Argument = "probe-image"

// Check is what is asked of a program.
type Check struct {
	Command  []string      `json:"command"`
	Path     string        `json:"path"`             // with its query, from "/"
	Port     int           `json:"port"`             // that the program listens on
	Status   int           `json:"status,omitempty"` // 0: any from 200 to 399
	Contains string        `json:"contains,omitempty"`
	Timeout  time.Duration `json:"timeout"`
}

// Main is the main function of a probe. It gives the exit status: 0 when the program answers
// as it should, 1 with a line on standard error when it does not.
func Main(arguments []string) int {
	if len(arguments) != 2 || arguments[0] != Argument {
		fmt.Fprintf(os.Stderr, "usage: %s CHECK\n", Argument)
		return 2
	}
	var c Check
	err := json.Unmarshal([]byte(arguments[1]), &c)
	if err == nil {
		err = Run(context.Background(), c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// Run starts the program and asks it until it answers as it should, it ends, or the time is
// over. What the program prints is nobody's.
func Run(ctx context.Context, c Check) error {
	if len(c.Command) == 0 {
		return errors.New("there is no program")
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	program := exec.CommandContext(ctx, c.Command[0], c.Command[1:]...)
	program.Env = append(os.Environ(), "PORT="+strconv.Itoa(c.Port))
	program.WaitDelay = time.Second
	if err := program.Start(); err != nil {
		return fmt.Errorf("the program does not start: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	last := errors.New("it was not asked")
	for ticker := time.NewTicker(50 * time.Millisecond); ; {
		answer := c.ask(ctx)
		if answer == nil {
			cancel()
			<-ended
			return nil
		}
		if ctx.Err() == nil {
			last = answer
		}
		select {
		case err := <-ended:
			if ctx.Err() == nil {
				return fmt.Errorf("the program has ended: %v", cause(err))
			}
			return fmt.Errorf("not within %s: %w", c.Timeout, last)
		case <-ticker.C:
		}
	}
}

// cause says how a program has ended.
func cause(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// maxBody is how much of an answer is read.
const maxBody = 1 << 20

// ask asks once.
func (c Check) ask(ctx context.Context) error {
	url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)) + c.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second,
		// Where it is sent on to is another question.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("it does not answer on port %d", c.Port)
	}
	defer answer.Body.Close()
	if fits := answer.StatusCode == c.Status || c.Status == 0 && answer.StatusCode >= 200 && answer.StatusCode < 400; !fits {
		return fmt.Errorf("it answers %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return errors.New("its answer breaks off")
	}
	if !strings.Contains(string(body), c.Contains) {
		return fmt.Errorf("its answer does not contain %q", c.Contains)
	}
	return nil
}
