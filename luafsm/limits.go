package luafsm

import (
	"fmt"
	"math"
	"slices"

	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// Limits of one call. They are replicated settings: every machine has the same
// ones at the same index, because a script can notice them.
type limits struct {
	instructions int // VM instructions and charged steps of a call
	deploySteps  int // the same for a deploy: load, init and migrate together
	events       int // events that are kept
	stringBytes  int // longest string
	callBytes    int // bytes of strings and tables that one call makes
	messageBytes int // arguments and results of one call, together
	nesting      int // of arguments, results and JSON
	scriptBytes  int // one script
	sessionTTL   int // seconds of the log clock without a call after which a session ends
	sessions     int // sessions that are open
}

// setting describes one entry of limits.
type setting struct {
	name     string
	def      int
	min, max int
	field    func(*limits) *int
}

// settings are the names that Setting commands know, sorted. syncsh settings
// shows them; another name, or a value that is no whole number in the range, is
// a bad_argument.
//
//	name                 default      least   most           what
//	call_bytes           67108864     65536   1073741824     strings and tables that one call makes
//	deploy_instructions  10000000     10000   1000000000     a whole deploy: chunks (1000000 each at most), init (like a call each), migrate
//	events               100000       0       1000000        events kept for subscribers that resume (64 MiB at most)
//	instructions         1000000      1000    1000000000     one call, of a client or of a timer
//	message_bytes        67108864     4096    67108864       arguments and results of one call, together; a frame takes no more
//	nesting              100          4       100            tables within tables in arguments, results and JSON
//	script_bytes         262144       4096    1048576        one script
//	session_ttl          3600         1       2592000        seconds without a call after which a session ends
//	sessions             10000        1       1000000        sessions that are open
//	string_bytes         16777216     1024    268435456      one string
var settings = []setting{
	{"call_bytes", 64 << 20, 1 << 16, 1 << 30, func(l *limits) *int { return &l.callBytes }},
	{"deploy_instructions", 10_000_000, 10_000, 1_000_000_000, func(l *limits) *int { return &l.deploySteps }},
	{"events", 100_000, 0, 1_000_000, func(l *limits) *int { return &l.events }},
	{"instructions", 1_000_000, 1_000, 1_000_000_000, func(l *limits) *int { return &l.instructions }},
	{"message_bytes", 64 << 20, 1 << 12, 64 << 20, func(l *limits) *int { return &l.messageBytes }},
	{"nesting", 100, 4, 100, func(l *limits) *int { return &l.nesting }},
	{"script_bytes", 256 << 10, 1 << 12, 1 << 20, func(l *limits) *int { return &l.scriptBytes }},
	{"session_ttl", 3600, 1, 30 * 24 * 3600, func(l *limits) *int { return &l.sessionTTL }},
	{"sessions", 10_000, 1, 1_000_000, func(l *limits) *int { return &l.sessions }},
	{"string_bytes", 16 << 20, 1 << 10, 256 << 20, func(l *limits) *int { return &l.stringBytes }},
}

// Limits that are constants of the machine version.
const (
	callDepthMax    = 1000      // nested calls of Lua and library functions
	registersMax    = 32 << 10  // values on the stack of one call
	chunkSteps      = 1_000_000 // of a script's chunk; no setting, as it runs again on a restore
	slotBytes       = 64        // charged for an entry created in a table
	tableBytes      = 128       // charged for a table
	gmatchBytes     = 1 << 10   // charged for an iterator of gmatch: it has its captures and sets in it
	argsMax         = 200       // arguments or results of a call
	eventsCallMax   = 1000      // events that one call may emit
	eventBytesMax   = 64 << 10  // values of an event: what is kept is bounded by bytes too
	eventsBytesMax  = 64 << 20  // events that are kept, all together
	eventsDropMax   = 32        // old events that a new one removes at most
	eventSteps      = 200       // charged for an event: what keeping it costs, in instructions
	timerBytesMax   = 1 << 20   // arguments of a timer
	freshSteps      = 12        // charged for a table that comes into the state
	freshPerStep    = 4         // entries of such a table for a step more
	writeSteps      = 16        // charged for a write to the state
	movedPerStep    = 4         // values of a sequence that insert and remove move for a step
	moveSteps       = 4         // charged for an entry that moves between a sequence and its map
	tableSteps      = 4         // charged for a table that is made
	iterSteps       = 2         // charged for a step of an iterator, and a value of JSON or of a copy
	textSteps       = 4         // charged for a number that becomes a text or the reverse
	textBytes       = 16        // bytes of a text that a loop goes through for a step
	callSteps       = 4         // charged for a call that no instruction of the script makes, such as that of a metamethod
	lookupSteps     = 1         // charged for t[k], #t, and t[k] = v outside of the state: their instruction calls a function
	metaSteps       = 2         // charged for a table that __index or __newindex refers to
	concatSteps     = 4         // charged for a value that table.concat puts in
	levelSteps      = 20        // charged for a level of the stack that is looked at
	timerSteps      = 200       // charged for setting, cancelling and firing a timer
	timersMax       = 1_000_000 // replicated timers that may wait
	metaDepthMax    = 16        // __index and __newindex that refer to one another
	nameBytesMax    = 64        // name of an object, method or script
	versionMax      = 1 << 31   // of an object
	scriptsMax      = 1000      // scripts that are deployed
	scriptsBytesMax = 4 << 20   // their sources, all together: a restore compiles all of them
	printBytesMax   = 4096      // of one print
	messageTextMax  = 4096      // bytes of an error's message
	timerSecondsMax = 1e9       // of after
)

func defaultLimits() limits {
	var l limits
	for _, s := range settings {
		*s.field(&l) = s.def
	}
	return l
}

// settingMax is the most that a setting can be.
func settingMax(name string) int {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
	return settings[i].max
}

// readLimits reads the settings that differ from their defaults.
func readLimits(t *state.Table) limits {
	l := defaultLimits()
	for _, s := range settings {
		if v, ok := t.GetString(nil, s.name).(lua.LNumber); ok && checkSetting(s.name, float64(v)) == nil {
			*s.field(&l) = int(v)
		}
	}
	return l
}

// checkSetting refuses names and values that are no settings.
func checkSetting(name string, v float64) error {
	for _, s := range settings {
		if s.name != name {
			continue
		}
		if v != math.Trunc(v) || v < float64(s.min) || v > float64(s.max) {
			return fmt.Errorf("setting %s: must be an integer from %d to %d", name, s.min, s.max)
		}
		return nil
	}
	return fmt.Errorf("no setting %q", name)
}
