--- Remembers every id it was given and how often: what happened exactly once is
--- there exactly once.
local Ledger = object "ledger"

function Ledger:init()
  self.total = 0
  self.times = {}
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
