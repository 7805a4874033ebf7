package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"howdah.dev/howdah/api"
)

// yamlBuilder turns the library's nodes into ours: offsets instead of lines and
// runes, our reading of scalars, aliases and merges expanded within the limits.
type yamlBuilder struct {
	doc    *Document
	text   []byte // the file without its BOM
	base   int    // offset of text in the file
	lines  []yamlLine
	limits Limits
	nodes  int
	open   map[*yaml.Node]bool // anchors being expanded, against cycles
	found  api.Diagnostics
}

func (d *Document) parseYAML(l Limits, start int) api.Diagnostics {
	text := d.data[start:]
	b := &yamlBuilder{doc: d, text: text, base: start, limits: l, lines: yamlLines(text), open: map[*yaml.Node]bool{}}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var y yaml.Node
		err := dec.Decode(&y)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return append(b.found, b.syntax(err))
		}
		if s := b.root(&y); s != nil {
			return append(b.found, d.at(s.at, s.summary, s.detail))
		}
	}
	if len(d.roots) == 0 && !b.found.HasErrors() {
		return append(b.found, d.at(start, "the file holds no document, only comments or separators", "Give a JSON or YAML document."))
	}
	return b.found
}

func (b *yamlBuilder) root(y *yaml.Node) *stop {
	if y.Kind != yaml.DocumentNode || len(y.Content) != 1 {
		return nil
	}
	c := y.Content[0]
	if c.Kind == yaml.ScalarNode && c.Value == "" && c.Style == 0 {
		return nil // nothing between two separators
	}
	root, s := b.node(c, nil, 0)
	if s == nil {
		b.doc.roots = append(b.doc.roots, root)
	}
	return s
}

func (b *yamlBuilder) node(y *yaml.Node, parent *Node, depth int) (*Node, *stop) {
	n := &Node{doc: b.doc, parent: parent, index: -1, at: b.offset(y), keyAt: -1}
	if b.nodes++; b.nodes > b.limits.Nodes {
		return nil, &stop{n.at, fmt.Sprintf("the file has more than %d values, aliases expanded", b.limits.Nodes), "Use fewer aliases, or split the file."}
	}
	if depth > b.limits.Depth {
		return nil, &stop{n.at, fmt.Sprintf("values are nested more than %d deep", b.limits.Depth), "Look for an indentation that grows by mistake."}
	}
	switch y.Kind {
	case yaml.AliasNode:
		return b.alias(y, parent, depth)
	case yaml.SequenceNode:
		n.kind = List
		b.tag(y, "!!seq")
		return n, b.sequence(n, y, depth)
	case yaml.MappingNode:
		n.kind = Mapping
		b.tag(y, "!!map")
		return n, b.mapping(n, y, depth)
	}
	b.scalar(n, y)
	return n, nil
}

func (b *yamlBuilder) alias(y *yaml.Node, parent *Node, depth int) (*Node, *stop) {
	if y.Alias == nil || b.open[y.Alias] {
		return nil, &stop{b.offset(y), "the alias *" + short(y.Value) + " stands inside what it refers to", "Write the value out."}
	}
	b.open[y.Alias] = true
	defer delete(b.open, y.Alias)
	return b.node(y.Alias, parent, depth)
}

func (b *yamlBuilder) sequence(n *Node, y *yaml.Node, depth int) *stop {
	n.items = make([]*Node, 0, len(y.Content))
	for i, c := range y.Content {
		v, s := b.node(c, n, depth+1)
		if s != nil {
			return s
		}
		v.index = i
		n.items = append(n.items, v)
	}
	return nil
}

func (b *yamlBuilder) mapping(n *Node, y *yaml.Node, depth int) *stop {
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.Tag == "!!merge" {
			merges = append(merges, v)
			continue
		}
		key, ok := b.key(k)
		if !ok {
			continue
		}
		value, s := b.node(v, n, depth+1)
		if s != nil {
			return s
		}
		value.key, value.keyAt = key, b.offset(k)
		if value.kind == Null && value.plain == "" {
			value.at = value.keyAt // nothing is written: point at the key
		}
		n.add(value)
	}
	for _, m := range merges {
		if s := b.merge(n, m, depth); s != nil {
			return s
		}
	}
	return nil
}

// key returns the text of a key: a scalar as written.
func (b *yamlBuilder) key(k *yaml.Node) (string, bool) {
	for k.Kind == yaml.AliasNode && k.Alias != nil {
		k = k.Alias
	}
	switch {
	case k.Kind != yaml.ScalarNode:
		b.report(k, "a list or a mapping stands where a key is wanted", "Write a plain word as key. Text such as {{ name }} must be quoted.")
	case k.Value == "" && k.Style == 0:
		b.report(k, "a key is missing before the colon", "")
	default:
		return k.Value, true
	}
	return "", false
}

// merge adds the entries of a merge key (<<) that the mapping has not itself.
// Of several merged mappings the first one wins.
func (b *yamlBuilder) merge(n *Node, y *yaml.Node, depth int) *stop {
	target := y
	for target.Kind == yaml.AliasNode && target.Alias != nil {
		target = target.Alias
	}
	if target.Kind == yaml.SequenceNode {
		for _, c := range target.Content {
			if c.Kind == yaml.SequenceNode {
				b.report(c, "a list stands where a mapping to merge is wanted", "")
			} else if s := b.merge(n, c, depth); s != nil {
				return s
			}
		}
		return nil
	}
	if target.Kind != yaml.MappingNode {
		b.report(y, "only a mapping can be merged with <<", "Write <<: *name, where &name marks a mapping.")
		return nil
	}
	v, s := b.node(y, n, depth+1)
	if s != nil {
		return s
	}
	for _, it := range v.items {
		if _, has := n.find(it.key); !has {
			it.parent = n
			n.add(it)
		}
	}
	return nil
}

// scalar decides what a scalar is; quoted and block scalars are always text.
func (b *yamlBuilder) scalar(n *Node, y *yaml.Node) {
	n.plain = y.Value
	quoted := y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	n.kind, n.text = String, y.Value
	tagged := y.Style&yaml.TaggedStyle != 0
	if tagged && y.Tag == "!!str" || quoted && !tagged {
		return
	}
	n.kind, n.text = plainScalar(y.Value)
	if !tagged {
		return
	}
	want, known := map[string]Kind{"!!int": Number, "!!float": Number, "!!bool": Bool, "!!null": Null}[y.Tag]
	switch {
	case !known:
		b.badTag(y)
	case n.kind != want:
		b.report(y, fmt.Sprintf("%s is not %s, as its tag %s says", quote(y.Value), want, y.Tag), "Remove the tag.")
	}
}

func (b *yamlBuilder) tag(y *yaml.Node, allowed string) {
	if y.Style&yaml.TaggedStyle != 0 && y.Tag != allowed {
		b.badTag(y)
	}
}

func (b *yamlBuilder) badTag(y *yaml.Node) {
	detail := "Remove the tag."
	if y.Kind == yaml.ScalarNode {
		detail = "Remove the tag; put text that starts with ! in quotes."
	}
	b.report(y, "the YAML tag "+short(visible([]byte(y.Tag)))+" is not supported", detail)
}

func (b *yamlBuilder) report(y *yaml.Node, summary, detail string) {
	b.found = append(b.found, b.doc.at(b.offset(y), summary, detail))
}
