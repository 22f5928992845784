--- A counter that every node agrees on.
local Counter = object "counter"

function Counter:init()
  self.value = 0
end

--- Adds `by` (default 1) and returns the new value.
function Counter.replicated:inc(by)
  self.value = self.value + (by or 1)
  return self.value
end

--- Sets the value and returns the one before.
function Counter.replicated:set(value)
  assert(type(value) == "number", "counter:set(value): value must be a number")
  local before = self.value
  self.value = value
  return before
end

--- Returns the value.
function Counter.query:get()
  return self.value
end
