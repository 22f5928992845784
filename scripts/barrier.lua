--- Named barriers: each party waits until all of them have arrived, then all go on. A
--- barrier whose parties don't all come within its time breaks, and is ready to be used
--- again. Each gathering has a number, its generation, that only grows.
---
--- Changes are O(log n). There are at most 1,000 barriers at once with up to 1,000
--- parties each; how a gathering ended is kept for an hour, of the last 10,000.
---
--- Events: `open` (name, generation), `broken` (name, generation).
local Barrier = object "barrier"

local names_most, parties_most, ended_most, ended_seconds = 1000, 1000, 10000, 3600

function Barrier:init()
  self.gathering = {}                        -- name -> {generation, parties, arrived, count, timer}
  self.names = 0
  self.ended = {}                            -- generation -> {outcome, timer}
  self.ended_count = 0
  self.last = 1                              -- generation
end

local function check(method, what, v)
  if type(v) ~= "string" or v == "" or #v > 256 then
    error("barrier:" .. method .. ": " .. what .. " must be a text of 1 to 256 bytes", 0)
  end
end

local function forget(self, generation)
  cancel(self.ended[generation].timer)
  self.ended[generation] = nil
  self.ended_count = self.ended_count - 1
end

-- Ends the gathering at a barrier: open or broken.
local function finish(self, name, outcome)
  local b = self.gathering[name]
  cancel(b.timer)
  self.gathering[name] = nil
  self.names = self.names - 1
  self.ended[b.generation] = {outcome = outcome, timer = after(ended_seconds, "forget", b.generation)}
  self.ended_count = self.ended_count + 1
  if self.ended_count > ended_most then
    forget(self, next(self.ended))
  end
  emit(outcome, name, b.generation)
end

--- Says that `party` has arrived at the barrier `name` of that many `parties`. The
--- first to arrive begins a gathering, which breaks after `ttl` seconds. Returns the
--- generation and "open" if all have arrived, else "waiting".
function Barrier.replicated:arrive(name, party, parties, ttl)
  check("arrive(name, party, parties, ttl)", "name", name)
  check("arrive(name, party, parties, ttl)", "party", party)
  if type(parties) ~= "number" or parties % 1 ~= 0 or parties < 1 or parties > parties_most then
    error("barrier:arrive(name, party, parties, ttl): parties must be a whole number from 1 to " .. parties_most, 0)
  end
  if type(ttl) ~= "number" or not (ttl > 0 and ttl <= 86400) then
    error("barrier:arrive(name, party, parties, ttl): ttl must be a number of seconds, above 0 and at most 86400", 0)
  end
  local b = self.gathering[name]
  if not b then
    if self.names >= names_most then
      error("barrier:arrive(name, party, parties, ttl): there are " .. names_most .. " barriers already", 0)
    end
    self.last = math.max(index(), self.last + 1)
    b = {generation = self.last, parties = parties, arrived = {}, count = 0, timer = after(ttl, "expire", name, self.last)}
    b.expires = now() + ttl
    self.gathering[name] = b
    self.names = self.names + 1
  elseif b.parties ~= parties then
    error("barrier:arrive(name, party, parties, ttl): " .. name .. " waits for " .. b.parties .. " parties, not " .. parties, 0)
  end
  if not b.arrived[party] then
    b.arrived[party] = true
    b.count = b.count + 1
  end
  if b.count < b.parties then
    return b.generation, "waiting"
  end
  finish(self, name, "open")
  return b.generation, "open"
end

--- Takes an arrival back. Returns whether `party` was waiting.
function Barrier.replicated:leave(name, party)
  local b = self.gathering[name]
  if not b or not b.arrived[party] then
    return false
  end
  b.arrived[party] = nil
  b.count = b.count - 1
  if b.count == 0 then
    finish(self, name, "broken")
  end
  return true
end

--- Breaks a gathering whose time is over. A replicated timer calls it.
function Barrier.replicated:expire(name, generation)
  local b = self.gathering[name]
  if b and b.generation == generation and b.expires <= now() then
    finish(self, name, "broken")
  end
end

--- Forgets how a gathering ended. A replicated timer calls it.
function Barrier.replicated:forget(generation)
  if self.ended[generation] then
    forget(self, generation)
  end
end

--- Returns how a gathering ended: "open" or "broken"; nil if it has not, or if that
--- was too long ago.
function Barrier.query:outcome(generation)
  local ended = self.ended[generation]
  return ended and ended.outcome
end

--- Returns how many parties have arrived at a barrier, and of how many.
function Barrier.query:status(name)
  local b = self.gathering[name]
  if not b then
    return 0, 0
  end
  return b.count, b.parties
end

--- Arrives and waits for the others, until the barrier breaks: `timeout` seconds
--- (default 60) after the first has arrived. Returns true and the generation when all
--- have come; false and the generation when the barrier broke.
function Barrier:wait(name, party, parties, timeout)
  timeout = timeout or 60
  local generation, outcome = self:arrive(name, party, parties, timeout)
  if outcome == "open" or outcome == "broken" then
    return outcome == "open", generation
  end
  local deadline, news = now() + timeout + 10, watch({object = self, path = {"ended", generation}})
  local well, problem = pcall(function()
    repeat
      news:wait(math.max(0, deadline - now()))
      outcome = self:outcome(generation)
    until outcome or now() >= deadline       -- it has ended, and was forgotten since
  end)
  news:stop()
  if not well then
    error(problem, 0)
  end
  return outcome == "open", generation
end
