package count

import "unicode/utf8"

const replacement = "\ufffd"

// Text returns what Hadoop's Text, and any Java reader of UTF-8, makes of bytes:
// each malformed sequence becomes one U+FFFD. How long a malformed sequence is
// differs between languages; Java's rule, checked against OpenJDK 17 and Hadoop
// 3.5.0 by testdata/TextCases.java, is that of malformed.
//
// Words may be replaced one by one: a malformed sequence never takes in an
// ASCII byte, so it ends where the word ends.
func Text(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(replacement))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = malformed(b)
			out = append(out, replacement...)
		} else {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return out
}

// malformed returns the length of the malformed sequence b starts with: the
// longest start of what could have been a character, and the whole of an
// encoded surrogate.
func malformed(b []byte) int {
	switch {
	case len(b) == 1:
		return 1
	case b[0] >= 0xe0 && b[0] <= 0xef:
		if !continues(b[1]) || b[0] == 0xe0 && b[1] < 0xa0 {
			return 1
		}
		if len(b) == 2 || !continues(b[2]) {
			return 2
		}
		return 3 // a surrogate
	case b[0] >= 0xf0 && b[0] <= 0xf4:
		if !continues(b[1]) || b[0] == 0xf0 && b[1] < 0x90 || b[0] == 0xf4 && b[1] > 0x8f {
			return 1
		}
		if len(b) == 2 || !continues(b[2]) {
			return 2
		}
		return 3
	}
	return 1
}

func continues(b byte) bool { return b&0xc0 == 0x80 }
