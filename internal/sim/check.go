package main

import "fmt"

// check is what a failure broke, for the table of planted bugs.
type check string

const (
	electionSafety   check = "election safety"
	oneVote          check = "one vote a term"
	logMatching      check = "log matching"
	leaderComplete   check = "leader completeness"
	commitDurable    check = "commit is on a majority of disks"
	commitOwnTerm    check = "a leader commits entries of its own term"
	changesInTurn    check = "one change of members at a time"
	neverBack        check = "commit and term never move back"
	prefixAgrees     check = "applied prefixes agree"
	digestsAgree     check = "digests agree"
	clockForward     check = "log clock never moves back"
	snapshotWhole    check = "snapshot has the state and configuration of its index"
	ackSurvives      check = "acknowledged calls survive"
	exactlyOnce      check = "exactly once"
	answersRight     check = "answers"
	linearizable     check = "linearizable reads"
	porcupineSays    check = "porcupine"
	diskTruth        check = "damage is refused, nothing invented"
	startsAgain      check = "a member starts again"
	agreesAfterHeal  check = "leader and agreement after healing"
	enoughHappens    check = "enough happens"
	ownInvariant     check = "invariant of the code itself"
	simulatorItself  check = "the simulator itself"
	messagesAccepted check = "no member refuses a member's message"
)

// failure is a broken guarantee; it ends the world.
type failure struct {
	check check
	err   error
}

func (f *failure) Error() string { return fmt.Sprintf("%s: %v", f.check, f.err) }
func (f *failure) Unwrap() error { return f.err }

func (w *world) fail(c check, format string, args ...any) {
	panic(&failure{c, fmt.Errorf(format, args...)})
}
