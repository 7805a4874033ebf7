package marathon

import (
	"bytes"
	"sync"

	"howdah.dev/howdah/internal/cell/scheduler"
)

// lists keeps the encoded forms of apps, by what was embedded, until they change:
// a poll costs what changed since the last one. The scheduler's state is held for
// as long as it takes to look at it, not while texts are made of it.
type lists struct {
	mu   sync.Mutex // taken before the scheduler's state is looked at
	sets map[string]*set
}

// set is what is kept for one set of embeds.
type set struct {
	apps  map[string]text // by id
	whole text            // the answer for all apps
}

// text is something encoded as of a revision.
type text struct {
	revision uint64
	json     []byte
}

// maxSets is how many sets of embeds are remembered.
const maxSets = 8

func newLists() lists { return lists{sets: map[string]*set{}} }

func (l *lists) set(e embeds) *set {
	key := e.key()
	s := l.sets[key]
	if s == nil {
		if len(l.sets) >= maxSets {
			clear(l.sets)
		}
		s = &set{apps: map[string]text{}}
		l.sets[key] = s
	}
	return s
}

// part is one app of an answer: its text, or what a text is made of.
type part struct {
	id   string
	text text
	view *appView // nil where the text is there
}

// answer returns the list of apps that pass a filter, and its revision.
func (l *lists) answer(e *scheduler.Engine, f *filter, embed embeds) (text, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.set(embed)
	var parts []part
	now := text{}
	e.View(func(v scheduler.View) {
		if now.revision = v.Revision(); f.open() && s.whole.json != nil && s.whole.revision == now.revision && embed.lasting() {
			now.json = s.whole.json
			return
		}
		parts = s.collect(v, f, embed)
	})
	if now.json != nil {
		return now, nil
	}
	var err error
	if now.json, err = s.join(parts); err != nil || !embed.lasting() {
		return now, err
	}
	if f.open() {
		s.whole = now
		s.forget(parts)
	}
	return now, nil
}

// collect looks at every app of the answer.
func (s *set) collect(v scheduler.View, f *filter, e embeds) []part {
	var parts []part
	for at := range v.Apps() {
		if !f.takes(at.Spec) {
			continue
		}
		id := at.Spec.ID
		p := part{id: id, text: s.apps[id]}
		if revision := v.AppRevision(id); p.text.json == nil || p.text.revision != revision || !e.lasting() {
			view := showApp(v, at, e)
			p.text, p.view = text{revision: revision}, &view
		}
		parts = append(parts, p)
	}
	return parts
}

// join writes the answer, and keeps the texts of its apps.
func (s *set) join(parts []part) ([]byte, error) {
	size := 16
	for i := range parts {
		p := &parts[i]
		if p.view != nil {
			var err error
			if p.text.json, err = encode(p.view); err != nil {
				return nil, err
			}
			s.apps[p.id] = p.text
		}
		size += len(p.text.json) + 1
	}
	out := bytes.NewBuffer(make([]byte, 0, size))
	out.WriteString(`{"apps":[`)
	for i, p := range parts {
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(p.text.json)
	}
	out.WriteString("]}")
	return out.Bytes(), nil
}

// forget drops the texts of apps that are gone.
func (s *set) forget(parts []part) {
	if len(s.apps) == len(parts) {
		return
	}
	kept := make(map[string]text, len(parts))
	for _, p := range parts {
		kept[p.id] = p.text
	}
	s.apps = kept
}
