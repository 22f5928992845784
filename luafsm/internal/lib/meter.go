package lib

// Meter is the budget of one call. An error from it is handed on unchanged and
// at once.
type Meter interface {
	// Steps charges n units of work, each about one pattern character
	// compared or one small loop body.
	Steps(n int) error
	// Bytes charges n bytes that are about to be allocated. It must refuse
	// math.MaxInt.
	Bytes(n int) error
}

// meterBatch is how many steps may be done before they are charged, so that a
// tight loop doesn't call an interface at every step.
const meterBatch = 256

// Error is an error that the script caused: its text is Lua 5.1's where Lua 5.1
// has one. Any other error that a function here returns came from a Meter or a
// callback.
type Error string

func (e Error) Error() string { return string(e) }

// ErrStringTooLarge is returned when a result would be longer than any budget
// could allow.
const ErrStringTooLarge Error = "resulting string too large"

// stringBytesMax bounds a single result whatever the Meter says, so that
// lengths can be added without overflow.
const stringBytesMax = 1 << 30

// stepper counts steps and charges them in batches.
type stepper struct {
	meter   Meter
	pending int
}

// step adds n steps and charges when a batch is full.
func (c *stepper) step(n int) error {
	c.pending += n
	if c.pending < meterBatch {
		return nil
	}
	return c.flush()
}

// flush charges what is pending, so that the total is exact.
func (c *stepper) flush() error {
	n := c.pending
	c.pending = 0
	if n == 0 {
		return nil
	}
	return c.meter.Steps(n)
}
