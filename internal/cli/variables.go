package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/fault"
)

const maxVariableFile = 1 << 20 // bytes

// readVariables reads NAME=VALUE, or NAME for the value it has here, from the lines of
// files and then from the entries; the last one counts. No value is ever in an error.
func readVariables(getenv func(string) string, files, entries []string) (map[string]string, error) {
	out := map[string]string{}
	for _, path := range files {
		text, err := readSmall("read variables", path)
		if err != nil {
			return nil, err
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if why := putVariable(out, getenv, line); why != "" {
				return nil, fault.Newf(fault.Usage, "read variables", path, fmt.Sprintf("line %d: %s", number, why))
			}
		}
	}
	for _, entry := range entries {
		if why := putVariable(out, getenv, entry); why != "" {
			name, _, _ := strings.Cut(entry, "=")
			return nil, fault.Newf(fault.Usage, "read flags", "--env "+name, why)
		}
	}
	return out, nil
}

func putVariable(out map[string]string, getenv func(string) string, entry string) (why string) {
	name, value, given := strings.Cut(entry, "=")
	if why := build.CheckVariable(name); why != "" {
		return why
	}
	if !given {
		value = getenv(name)
	}
	out[name] = value
	return ""
}

// readAuthorities reads a file of PEM certificates, and nothing but these.
func readAuthorities(path string) ([]byte, error) {
	rest, err := readSmall("read certificates", path)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fault.Newf(fault.Usage, "read certificates", path, fmt.Sprintf("it holds a %q; only certificates go into a build", block.Type))
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fault.New(fault.Usage, "read certificates", path, err)
		}
		if err := pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return nil, err
		}
	}
	if out.Len() == 0 {
		return nil, fault.Newf(fault.Usage, "read certificates", path, "it holds no certificate in PEM form")
	}
	return out.Bytes(), nil
}

// readSmall reads a file that the user named.
func readSmall(what, path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err == nil && (!st.Mode().IsRegular() || st.Size() > maxVariableFile) {
		return nil, fault.Newf(fault.Usage, what, path, "it is no file of at most 1 MiB")
	}
	if err != nil {
		return nil, fault.Newf(fault.Usage, what, path, "there is no such file")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Usage, what, path, err)
	}
	return text, nil
}
