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

const (
	maxDepth = 64 // how deep arrays and objects may stand in each other
	// maxValues bounds the values of a body: each costs far more memory than its text.
	// Ten thousand apps have half as many.
	maxValues = 1_000_000
)

var errTooMany = fmt.Errorf("more than %d values", maxValues)

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
	p := &parser{dec: dec}
	n, err := p.value(0)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something after the end of the value")
		}
	}
	if errors.Is(err, errTooMany) {
		return nil, &Error{Status: 422, Message: "The body holds " + err.Error(), Findings: []Finding{{Message: "it holds " + err.Error(), Remedy: "Send less at once."}}}
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
	var ignored json.RawMessage
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

// parser makes nodes of a body.
type parser struct {
	dec    *json.Decoder
	values int // read so far
}

func (p *parser) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels of arrays and objects", maxDepth)
	}
	if p.values++; p.values > maxValues {
		return nil, errTooMany
	}
	token, err := p.dec.Token()
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
			return p.array(depth)
		}
		return p.object(depth)
	default:
		return nil, fmt.Errorf("unexpected %v", token)
	}
}

func (p *parser) array(depth int) (*node, error) {
	n := &node{kind: arrayNode}
	for p.dec.More() {
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	_, err := p.dec.Token()
	return n, err
}

func (p *parser) object(depth int) (*node, error) {
	n := &node{kind: objectNode}
	for p.dec.More() {
		key, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("unexpected %v instead of a name", key)
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.keys = append(n.keys, name)
		n.items = append(n.items, item)
	}
	_, err := p.dec.Token()
	return n, err
}
