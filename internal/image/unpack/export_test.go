package unpack

// Dir is where the unpacker works.
func (u *Unpacker) Dir() string { return u.cfg.Dir }
