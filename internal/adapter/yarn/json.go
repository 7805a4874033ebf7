package yarn

import (
	"encoding/json"
	"strconv"
	"strings"
)

// YARN's servers turn XML rules into JSON, each in its own way; these types
// read all of them.

// looseInt is a number that some servers write as text.
type looseInt int64

// UnmarshalJSON reads 12 and "12".
func (n *looseInt) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	*n = looseInt(v)
	return err
}

// oneOrMore is a list that some servers write without brackets when it has one
// element.
type oneOrMore[T any] []T

// UnmarshalJSON reads x and [x, y].
func (l *oneOrMore[T]) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]T)(l))
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*l = []T{one}
	return nil
}
