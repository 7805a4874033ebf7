package op

// SetRoom has at most n steps act at once. It is called before Run.
func (e *Engine) SetRoom(n int) { e.room = n }
