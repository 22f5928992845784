--- Remembers every id it was given and how often: what happened exactly once is
--- there exactly once.
local Ledger = object "ledger"

function Ledger:init()
  self.total = 0
  self.times = {}
  self.rung = 0
end

--- Notes an id. Returns the number of all notes, and how often this id was noted.
function Ledger.replicated:add(id)
  self.total = self.total + 1
  self.times[id] = (self.times[id] or 0) + 1
  return self.total, self.times[id]
end

--- Returns the number of notes.
function Ledger.query:get()
  return self.total
end

--- Returns how often an id was noted.
function Ledger.query:count(id)
  return self.times[id] or 0
end

--- Rings once, so many tenths of a second later.
function Ledger.replicated:later(tenths)
  after(tenths / 10, "ring")
end

function Ledger.replicated:ring()
  self.rung = self.rung + 1
end

--- Returns how often it rang.
function Ledger.query:rings()
  return self.rung
end

--- Returns the number of the deploy that this code came with.
function Ledger.query:revision()
  return 0 -- revision
end
