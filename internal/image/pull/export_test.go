package pull

// Waiting is how many calls of Pull wait for an answer.
func (p *Puller) Waiting() int {
	p.flights.mu.Lock()
	defer p.flights.mu.Unlock()
	n := 0
	for _, f := range p.flights.open {
		n += f.waiting
	}
	return n
}
