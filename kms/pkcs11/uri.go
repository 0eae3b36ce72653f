package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// uri is what a pkcs11 URI names (RFC 7512, section 2.3).
type uri struct {
	token, serial string // label and serial number of the token: one of them is set at least
	label, id     string // CKA_LABEL and CKA_ID of the key: one of them is set
	module        string // path of the library, when the URI names it
	pinFile       string // path of a file with the PIN, when the URI names it
}

// parse reads a URI, with or without its scheme. What would not be obeyed is refused.
func parse(text string) (uri, error) {
	text = strings.TrimPrefix(strings.TrimPrefix(text, "pkcs11:"), "//")
	path, query, _ := strings.Cut(text, "?")
	var u uri
	var model, manufacturer string
	err := errors.Join(
		each(path, ";", map[string]func(string) error{
			"token": set(&u.token), "serial": set(&u.serial), "object": set(&u.label), "id": set(&u.id),
			"model": set(&model), "manufacturer": set(&manufacturer), "type": only("private"),
		}),
		each(query, "&", map[string]func(string) error{
			"module-path": set(&u.module), "pin-source": u.pinFrom,
			"pin-value": func(string) error {
				return errors.New("it holds a PIN, which every user of the machine can read: set PLIMSOLL_PKCS11_PIN, or name a file with pin-source")
			},
		}),
	)
	switch {
	case err != nil:
		return uri{}, err
	case u.serial == "" && (u.token == "" || model != "" || manufacturer != ""):
		// A serial number is exact, and all else about the token is for people.
		return uri{}, errors.New("it wants serial=NUMBER, or token=LABEL without model and manufacturer")
	case u.label == "" && u.id == "":
		return uri{}, errors.New("it wants object=LABEL or id=%NN")
	case u.module != "" && !filepath.IsAbs(u.module):
		return uri{}, errors.New("module-path is not absolute")
	}
	return u, nil
}

// each hands the attributes of a part of the URI to those who know them, each once.
func each(part, separator string, known map[string]func(string) error) error {
	if part == "" {
		return nil
	}
	for pair := range strings.SplitSeq(part, separator) {
		name, escaped, _ := strings.Cut(pair, "=")
		take := known[name]
		if take == nil {
			return fmt.Errorf("the attribute %q is not known, or comes twice", name)
		}
		delete(known, name)
		value, err := url.PathUnescape(escaped)
		if err != nil || value == "" {
			return fmt.Errorf("the attribute %q has no value that can be read", name)
		}
		if err := take(value); err != nil {
			return err
		}
	}
	return nil
}

func set(field *string) func(string) error {
	return func(value string) error {
		*field = value
		return nil
	}
}

func only(want string) func(string) error {
	return func(value string) error {
		if value != want {
			return fmt.Errorf("the type is not %q", want)
		}
		return nil
	}
}

// pinFrom takes "file:PATH" or a path; RFC 7512 also has "|COMMAND", which is not run.
func (u *uri) pinFrom(source string) error {
	u.pinFile = strings.TrimPrefix(strings.TrimPrefix(source, "file:"), "//")
	if !filepath.IsAbs(u.pinFile) {
		return errors.New("pin-source is not file: and an absolute path")
	}
	return nil
}

// modulePath gives the library: the URI's, else that of the environment.
func (u uri) modulePath() (string, error) {
	if u.module != "" {
		return u.module, nil
	}
	if module, ok := first("PLIMSOLL_PKCS11_MODULE", "COSIGN_PKCS11_MODULE_PATH"); ok {
		return module, nil
	}
	return "", errors.New("no PKCS #11 library is named: set PLIMSOLL_PKCS11_MODULE to its path, or add ?module-path= to the URI")
}

// pin gives the PIN: of the URI's file, else of the environment.
func (u uri) pin() (string, error) {
	if u.pinFile == "" {
		if pin, ok := first("PLIMSOLL_PKCS11_PIN", "COSIGN_PKCS11_PIN"); ok {
			return pin, nil
		}
		return "", errors.New("there is no PIN: set PLIMSOLL_PKCS11_PIN, or add ?pin-source=file:/PATH to the URI")
	}
	f, err := os.Open(u.pinFile)
	if err != nil {
		return "", fmt.Errorf("read PIN: %w", err)
	}
	defer f.Close()
	const longest = 256 // bytes
	text, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err != nil {
		return "", fmt.Errorf("read PIN: %w", err)
	}
	if len(text) > longest {
		return "", errors.New("read PIN: the file is too long for one")
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

func first(variables ...string) (value string, ok bool) {
	for _, name := range variables {
		if value := os.Getenv(name); value != "" {
			return value, true
		}
	}
	return "", false
}
