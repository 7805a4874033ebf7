package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deep arrays and objects stand in each other.
const maxDepth = 64

func itoa(n int) string { return strconv.Itoa(n) }

type nodeKind byte

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	stringNode
	arrayNode
	objectNode
)

// node is one value of JSON. Members of objects keep their order.
type node struct {
	kind  nodeKind
	text  string // of strings and numbers
	truth bool
	keys  []string
	items []*node
}

// parse reads JSON. What is wrong is named with its line and column.
func parse(body []byte) (*node, *Error) {
	if !utf8.Valid(body) {
		return nil, badJSON("the body is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	n, err := parseValue(dec, 0)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something after the end of the value")
		}
	}
	if err != nil {
		return nil, badJSON(syntaxText(body, dec, err))
	}
	return n, nil
}

func syntaxText(body []byte, dec *json.Decoder, err error) string {
	offset := dec.InputOffset()
	// The offsets of a Decoder's errors are those of its buffer; those of Unmarshal
	// are of the body.
	var ignored any
	var syntax *json.SyntaxError
	switch whole := json.Unmarshal(body, &ignored); {
	case errors.As(err, &syntax) && errors.As(whole, &syntax):
		offset, err = syntax.Offset-1, syntax
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		offset, err = int64(len(body)), errors.New("unexpected end of input")
	}
	before := body[:min(max(offset, 0), int64(len(body)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[1+bytes.LastIndexByte(before, '\n'):])
	return fmt.Sprintf("line %d, column %d: %s", line, column, err)
}

func parseValue(dec *json.Decoder, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels of arrays and objects", maxDepth)
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case nil:
		return &node{kind: nullNode}, nil
	case bool:
		return &node{kind: boolNode, truth: v}, nil
	case string:
		return &node{kind: stringNode, text: v}, nil
	case json.Number:
		return &node{kind: numberNode, text: v.String()}, nil
	case json.Delim:
		if v == '[' {
			return parseArray(dec, depth)
		}
		return parseObject(dec, depth)
	default:
		return nil, fmt.Errorf("unexpected %v", token)
	}
}

func parseArray(dec *json.Decoder, depth int) (*node, error) {
	n := &node{kind: arrayNode}
	for dec.More() {
		item, err := parseValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	_, err := dec.Token()
	return n, err
}

func parseObject(dec *json.Decoder, depth int) (*node, error) {
	n := &node{kind: objectNode}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("unexpected %v instead of a name", key)
		}
		item, err := parseValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		n.keys = append(n.keys, name)
		n.items = append(n.items, item)
	}
	_, err := dec.Token()
	return n, err
}
