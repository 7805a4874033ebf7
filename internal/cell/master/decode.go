package master

import (
	"bytes"
	"encoding/json"
	"strings"
)

// decodeTask reads a task. A field that Howdah does not know is no error of the
// call but a problem of the task: what it asks for would not be done, and its
// framework is to hear that. Explicit nulls ask for nothing.
func decodeTask(raw []byte) (launch, error) {
	var l launch
	err := strict(raw, &l)
	if err == nil {
		return l, nil
	}
	if _, unknown := unknownField(err); unknown {
		if bare, bareErr := withoutNulls(raw); bareErr == nil {
			l = launch{}
			err = strict(bare, &l)
		}
	}
	field, unknown := unknownField(err)
	if err == nil || !unknown {
		return l, err
	}
	l = launch{problem: "Task uses the field '" + field + "', which is not supported"}
	return l, json.Unmarshal(raw, &l.info)
}

func strict(raw []byte, l *launch) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(&l.info)
}

// unknownField finds the field's name in the error, which has no type of its own.
func unknownField(err error) (string, bool) {
	if err == nil {
		return "", false
	}
	name, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
	return strings.Trim(name, `"`), ok
}

func withoutNulls(raw []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(dropNulls(v))
}

func dropNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if inner == nil {
				delete(v, k)
				continue
			}
			v[k] = dropNulls(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = dropNulls(inner)
		}
	}
	return v
}
