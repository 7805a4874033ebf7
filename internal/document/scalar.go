package document

import (
	"math/big"
	"regexp"
	"strings"
)

var (
	jsonNumberPattern = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	yamlNumberPattern = regexp.MustCompile(`^([-+]?)(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?$`)
)

// jsonNumber reports whether text is a number in JSON's grammar.
func jsonNumber(text string) bool { return jsonNumberPattern.MatchString(text) }

// maxRadixDigits bounds hexadecimal and octal numbers, whose conversion is not linear.
const maxRadixDigits = 64

// plainScalar says what an unquoted YAML scalar is and gives its JSON text:
// the core schema of YAML 1.2 without infinities and with leading zeros left as text.
func plainScalar(s string) (Kind, string) {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return Null, ""
	case "true", "True", "TRUE":
		return Bool, "true"
	case "false", "False", "FALSE":
		return Bool, "false"
	}
	if text, ok := yamlNumber(s); ok {
		return Number, text
	}
	return String, s
}

func yamlNumber(s string) (string, bool) {
	if c := s[0]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') {
		return "", false
	}
	if jsonNumber(s) {
		return s, true
	}
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'o') && len(s)-2 <= maxRadixDigits {
		base := map[byte]int{'x': 16, 'o': 8}[s[1]]
		if s[2] == '-' || s[2] == '+' || strings.Contains(s, "_") {
			return "", false
		}
		v, ok := new(big.Int).SetString(s[2:], base)
		if !ok {
			return "", false
		}
		return v.String(), true
	}
	m := yamlNumberPattern.FindStringSubmatch(s)
	if m == nil || m[2] == "" && len(m[3]) < 2 {
		return "", false
	}
	sign, whole, fraction := strings.TrimPrefix(m[1], "+"), m[2], m[3]
	if whole == "" {
		whole = "0"
	}
	if fraction == "." {
		fraction = ""
	}
	return sign + whole + fraction + m[4], true
}
