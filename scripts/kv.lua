--- A key-value store. The data lies in kv.data, so `pairs(kv.data)` and
--- `kv.data.name` read it from anywhere. Changes are O(log n), pages O(limit * log n).
--- How much it holds is bounded by memory only; a `dict` has a limit.
local KV = object "kv"

function KV:init()
  self.data = {}
  self.count = 0
end

local function check(method, key)
  local t = type(key)
  if t ~= "string" and t ~= "number" and t ~= "boolean" then
    error("kv:" .. method .. "(key): key must be a string, number or boolean, not " .. t, 0)
  end
end

--- Stores `value` under `key` and returns the value that was there before.
--- The value nil removes the key.
function KV.replicated:set(key, value)
  check("set", key)
  local before = self.data[key]
  self.data[key] = value
  if before == nil and value ~= nil then
    self.count = self.count + 1
  elseif before ~= nil and value == nil then
    self.count = self.count - 1
  end
  return before
end

--- Removes `key` and returns the value that it had.
function KV.replicated:pop(key)
  check("pop", key)
  return self:set(key, nil)
end

--- Stores `value` under `key` if the value there is `expected` (nil: none).
--- Returns whether it did, and the value there is now.
function KV.replicated:swap(key, expected, value)
  check("swap", key)
  local now = self.data[key]
  if now ~= expected then
    return false, now
  end
  self:set(key, value)
  return true, value
end

--- Returns the value of `key`, or `default` if it has none.
function KV.query:get(key, default)
  local value = self.data[key]
  if value == nil then
    return default
  end
  return value
end

--- Returns how many keys there are.
function KV.query:len()
  return self.count
end

--- Returns up to `limit` (default 1000) keys in order, those after `after` if it
--- is given: pass the last one to get the next page.
function KV.query:keys(limit, after)
  limit = limit or 1000
  local keys = {}
  local key = next(self.data, after)
  while key ~= nil and #keys < limit do
    keys[#keys + 1] = key
    key = next(self.data, key)
  end
  return keys
end
