package raise

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// object is a JSON object whose members stay in their order.
type object []member

type member struct {
	key   string
	value json.RawMessage
}

// UnmarshalJSON reads an object. Of a key that is there twice the last counts, as for npm.
func (o *object) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		return errors.New("want a JSON object")
	}
	*o = object{}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		o.put(key.(string), value) // the decoder gives no other keys
	}
	return nil
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		key, err := plain(m.key)
		if err != nil {
			return nil, err
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(m.value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// plain encodes a value as npm does: without escaping what only matters in HTML.
func plain(value any) (json.RawMessage, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSpace(out.Bytes()), err
}

func (o object) at(key string) int {
	return slices.IndexFunc(o, func(m member) bool { return m.key == key })
}

// get gives the value of the key; nil when it is not there.
func (o object) get(key string) json.RawMessage {
	if i := o.at(key); i >= 0 {
		return o[i].value
	}
	return nil
}

// object gives the value of the key as an object; none when it is something else.
func (o object) object(key string) object {
	var inner object
	if json.Unmarshal(o.get(key), &inner) != nil {
		return nil
	}
	return inner
}

// text gives the value of the key as text; "" when it is something else.
func (o object) text(key string) string {
	var text string
	_ = json.Unmarshal(o.get(key), &text)
	return text
}

func (o *object) put(key string, value json.RawMessage) {
	if i := o.at(key); i >= 0 {
		(*o)[i].value = value
		return
	}
	*o = append(*o, member{key, value})
}

// set puts a value that JSON can hold.
func (o *object) set(key string, value any) error {
	text, err := plain(value)
	if err == nil {
		o.put(key, text)
	}
	return err
}

func (o *object) remove(key string) {
	*o = slices.DeleteFunc(*o, func(m member) bool { return m.key == key })
}

// file gives the object as npm writes its files.
func (o object) file() ([]byte, error) {
	text, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// read reads a file's text as one object.
func read(name string, text []byte) (object, error) {
	var o object
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&o); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: there is more after its end", name)
	}
	return o, nil
}
