package fault

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// ExitCode is that of a process that lost its power, or its commander.
const ExitCode = 86

// ErrCommand is returned by Obey for a line that is no command.
var ErrCommand = errors.New("not a fault command")

// Obey carries out commands, one a line, until there are no more:
//
//	disk ok             all is well again
//	disk slow MIN MAX   each sync takes so many milliseconds longer
//	disk fail           each sync fails with EIO and loses what was not synced
//	disk full           files can't grow: ENOSPC
//	clock MS            the wall clock is so many milliseconds ahead
//	power               what was not synced is lost and the process ends
func Obey(r io.Reader, d *Disk, c *Clock) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if err := obey(strings.Fields(lines.Text()), d, c); err != nil {
			return err
		}
	}
	return lines.Err()
}

func obey(words []string, d *Disk, c *Clock) error {
	line := strings.Join(words, " ")
	var numbers []time.Duration
	for len(words) > 0 {
		ms, err := strconv.ParseInt(words[len(words)-1], 10, 64)
		if err != nil {
			break
		}
		numbers = append([]time.Duration{time.Duration(ms) * time.Millisecond}, numbers...)
		words = words[:len(words)-1]
	}
	switch name := strings.Join(words, " "); {
	case name == "disk ok" && len(numbers) == 0:
		d.Heal()
	case name == "disk slow" && len(numbers) == 2 && numbers[0] <= numbers[1]:
		d.Slow(numbers[0], numbers[1])
	case name == "disk fail" && len(numbers) == 0:
		d.FailSyncs()
	case name == "disk full" && len(numbers) == 0:
		d.Fill()
	case name == "clock" && len(numbers) == 1:
		c.Set(numbers[0])
	case name == "power" && len(numbers) == 0:
		d.PowerCut(func() { os.Exit(ExitCode) })
	default:
		return fmt.Errorf("%w: %q", ErrCommand, line)
	}
	return nil
}
