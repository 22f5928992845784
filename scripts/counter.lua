--- A counter that every node agrees on. Every method is O(1).
local Counter = object "counter"

function Counter:init()
  self.value = 0
end

--- Adds `by` (default 1) and returns the new value.
function Counter.replicated:inc(by)
  local value = self.value + (by or 1)
  if value ~= value then                     -- nan would stay for ever
    error("counter:inc(by): by must be a number", 0)
  end
  self.value = value
  return value
end

local function check(method, by)
  if type(by) ~= "number" or by ~= by then
    error("counter:" .. method .. "(by): by must be a number", 0)
  end
end

--- Adds `by` and returns the new value.
function Counter.replicated:add(by)
  check("add", by)
  self.value = self.value + by
  return self.value
end

--- Subtracts `by` and returns the new value.
function Counter.replicated:sub(by)
  check("sub", by)
  self.value = self.value - by
  return self.value
end

--- Sets the value and returns the one before.
function Counter.replicated:set(value)
  if type(value) ~= "number" or value ~= value then
    error("counter:set(value): value must be a number", 0)
  end
  local before = self.value
  self.value = value
  return before
end

--- Returns the value.
function Counter.query:get()
  return self.value
end
