package support

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/server"
)

// mark stands where a secret was.
const mark = "[redacted]"

// leastSecret is how short a known secret may be: shorter ones would take away
// words that are none.
const leastSecret = 8

// redactor takes secrets out of texts: those the home holds, wherever they stand,
// and what looks like one.
type redactor struct {
	known [][]byte // longest first
}

// newRedactor reads the secrets of a home. What cannot be read is said; what looks
// like a secret is taken out all the same.
func newRedactor(h server.Home) (r *redactor, problems []error) {
	r = &redactor{}
	see := func(path string, take func(data []byte)) {
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			return
		}
		data, err := os.ReadFile(path)
		if err == nil {
			take(data)
		} else if !os.IsNotExist(err) {
			problems = append(problems, err)
		}
	}
	see(h.Token(), func(data []byte) { r.learn(string(data)) })
	nodes := filepath.Join(h.Nodes(), "*", "*")
	for pattern, take := range map[string]func([]byte){
		filepath.Join(h.Authority(), "*"):                r.learnPEM,
		filepath.Join(h.Authority(), "*", "*"):           r.learnPEM,
		filepath.Join(nodes, "agent", "*.pem"):           r.learnPEM,
		filepath.Join(nodes, "agent", "*", "*.pem"):      r.learnPEM,
		filepath.Join(nodes, "agent", "identity.json"):   r.learnPEM,
		filepath.Join(nodes, "join.json"):                r.learnJoin,
		filepath.Join(nodes, "agent", "assignment.json"): r.learnAssignment,
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			problems = append(problems, err)
		}
		for _, f := range files {
			see(f, take)
		}
	}
	slices.SortFunc(r.known, func(a, b []byte) int { return len(b) - len(a) })
	return r, problems
}

// learn adds a secret, in the forms it may stand in.
func (r *redactor) learn(secret string) {
	secret = strings.TrimSpace(secret)
	if len(secret) < leastSecret {
		return
	}
	for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret))} {
		r.known = append(r.known, []byte(form))
	}
}

// learnPEM adds the lines of private keys: one alone is a part of a key. A
// certificate is no secret.
func (r *redactor) learnPEM(data []byte) {
	private := false
	for line := range strings.Lines(strings.ReplaceAll(string(data), `\n`, "\n")) { // also inside JSON
		line = strings.TrimSpace(line)
		switch {
		case strings.Contains(line, "-----BEGIN"):
			private = strings.Contains(line, "PRIVATE KEY")
		case strings.Contains(line, "-----END"):
			private = false
		case private:
			r.learn(line)
		}
	}
}

func (r *redactor) learnJoin(data []byte) {
	var j agentapi.JoinFile
	if json.Unmarshal(data, &j) == nil {
		r.learn(j.Token)
	}
}

func (r *redactor) learnAssignment(data []byte) {
	var as agentapi.Assignment
	if json.Unmarshal(data, &as) != nil {
		return
	}
	take := func(secrets []agentapi.Secret) {
		for _, s := range secrets {
			if s.Kind != "authority" && s.Kind != "restrictions" { // a certificate, and ids of tokens
				r.learn(string(s.Content))
			}
		}
	}
	for _, s := range as.Services {
		take(s.Secrets)
	}
	for _, t := range as.Tasks {
		take(t.Secrets)
	}
}

// named is what a key is called that holds a secret.
const named = `(?:passwo?r?d|passphrase|secret|token|credential|api[_.-]?key|private[_.-]?key|access[_.-]?key|auth[_.-]?key)`

// looks are what secrets look like that nobody knows here; the first group, where
// there is one, stays.
var looks = []*regexp.Regexp{
	regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`),
	regexp.MustCompile(`(?:[A-Za-z0-9+/=]{16,}(?:\s|\\n)+)+-----END [A-Z ]*PRIVATE KEY-----`), // whose beginning was cut off
	regexp.MustCompile(`howdah_[A-Za-z0-9_-]{12,}(?:\.[A-Za-z0-9_-]*)?`),
	regexp.MustCompile(`(?i)((?:basic|bearer)\s+)[A-Za-z0-9+/=._~-]{8,}`),
	regexp.MustCompile(`([a-z][a-z0-9+.-]*://[^/\s:@"']*:)[^/\s@"']+@`),
	regexp.MustCompile(`(?i)(<name>[^<]*` + named + `[^<]*</name>\s*<value>)[^<]+`),
	regexp.MustCompile(`(?im)((?:^|[\s"',\[])--?[a-z0-9.-]*` + named + `[a-z0-9.-]*(?:=|[ \t]+|"\s*,\s*"))[^\s"',-][^\s"',]*`),
	regexp.MustCompile(`(?i)("[^"]*` + named + `[^"]*"\s*:\s*\\*")(?:[^"\\]|\\.)+`), // also as JSON within JSON
	regexp.MustCompile(`(?i)([a-z0-9_.-]*` + named + `[a-z0-9_.-]*[ \t]*[:=][ \t]*)(?:"[^"]+"|'[^']+'|[^\s"',;&}<]+)`),
}

// digits are what a digest looks like, and a secret of ours too: enough of it stays
// to tell digests apart.
var digits = regexp.MustCompile(`\b([0-9a-f]{10})[0-9a-f]{54}\b`)

// clean takes all secrets out of a text.
func (r *redactor) clean(data []byte) []byte {
	data = r.exact(data)
	for _, re := range looks {
		to := mark
		if re.NumSubexp() > 0 {
			to = "${1}" + mark
		}
		data = re.ReplaceAll(data, []byte(to))
	}
	return digits.ReplaceAll(data, []byte("${1}…"))
}

// exact takes out the secrets that are known.
func (r *redactor) exact(data []byte) []byte {
	for _, k := range r.known {
		if bytes.Contains(data, k) {
			data = bytes.ReplaceAll(data, k, []byte(mark))
		}
	}
	return data
}

// sure tells whether a text that is about to be written holds no secret.
func (r *redactor) sure(data []byte) bool {
	for _, k := range r.known {
		if bytes.Contains(data, k) {
			return false
		}
	}
	return !looks[0].Match(data) && !looks[2].Match(data)
}
