--- A dictionary: values under keys, which are strings, numbers or booleans. The
--- entries lie in dict.data, in order: `pairs(dict.data)` and `dict.data.name` read
--- them from anywhere. It holds at most 100,000 entries; a call that would add one
--- more fails.
local Dict = object "dict"

local most = 100000

function Dict:init()
  self.data = {}
  self.count = 0
end

local function check_key(method, key)
  local t = type(key)
  if t ~= "string" and t ~= "number" and t ~= "boolean" then
    error("dict:" .. method .. "(key, ...): key must be a string, number or boolean, not " .. t, 0)
  end
end

local function check_table(method, entries)
  if type(entries) ~= "table" then
    error("dict:" .. method .. "(entries): entries must be a table of keys and values, not " .. type(entries), 0)
  end
end

-- Stores a value, nil to remove it, and keeps count.
local function store(self, method, key, value)
  local before = self.data[key]
  if before == nil and value ~= nil then
    if self.count >= most then
      error("dict:" .. method .. ": a dict holds at most " .. most .. " entries", 0)
    end
    self.count = self.count + 1
  elseif before ~= nil and value == nil then
    self.count = self.count - 1
  end
  self.data[key] = copy(value)
  return before
end

-- Calls add(key, value) for up to limit entries after a key.
local function page(self, limit, after_key, add)
  local key, value = next(self.data, after_key)
  for _ = 1, limit or 1000 do
    if key == nil then
      break
    end
    add(key, value)
    key, value = next(self.data, key)
  end
end

--- Replaces all entries by those of the table `entries` (default: none). O(n).
function Dict.replicated:reset(entries)
  check_table("reset", entries or {})
  self.data, self.count = {}, 0
  for key, value in pairs(entries or {}) do
    store(self, "reset", key, value)
  end
end

--- Stores `value` under `key` (nil removes it) and returns the value that was
--- there before. O(log n).
function Dict.replicated:set(key, value)
  check_key("set", key)
  return store(self, "set", key, value)
end

--- Returns the value of `key`; if it has none, stores `value` there and returns
--- that. O(log n).
function Dict.replicated:setdefault(key, value)
  check_key("setdefault", key)
  if self.data[key] == nil then
    store(self, "setdefault", key, value)
  end
  return self.data[key]
end

--- Stores all entries of the table `entries`. O(entries * log n).
function Dict.replicated:update(entries)
  check_table("update", entries)
  for key, value in pairs(entries) do
    store(self, "update", key, value)
  end
end

--- Removes `key` and returns its value, or `default` if it had none. O(log n).
function Dict.replicated:pop(key, default)
  check_key("pop", key)
  local before = store(self, "pop", key, nil)
  if before == nil then
    return default
  end
  return before
end

--- Removes all entries. Charged as O(1).
function Dict.replicated:clear()
  self.data, self.count = {}, 0
end

--- Returns the value of `key`, or `default` if it has none. O(log n).
function Dict.query:get(key, default)
  check_key("get", key)
  local value = self.data[key]
  if value == nil then
    return default
  end
  return value
end

--- Returns whether `key` has a value. O(log n).
function Dict.query:contains(key)
  check_key("contains", key)
  return self.data[key] ~= nil
end

--- Returns how many entries there are. O(1).
function Dict.query:len()
  return self.count
end

--- Returns up to `limit` (default 1000) keys in order, those after `after_key` if
--- it is given: pass the last one to get the next page. O(limit * log n).
function Dict.query:keys(limit, after_key)
  local out = {}
  page(self, limit, after_key, function(key) out[#out + 1] = key end)
  return out
end

--- Returns up to `limit` (default 1000) values in the order of their keys, those
--- after `after_key` if it is given. O(limit * log n).
function Dict.query:values(limit, after_key)
  local out = {}
  page(self, limit, after_key, function(_, value) out[#out + 1] = value end)
  return out
end

--- Returns up to `limit` (default 1000) entries as a list of {key, value}, those
--- after `after_key` if it is given. O(limit * log n).
function Dict.query:items(limit, after_key)
  local out = {}
  page(self, limit, after_key, function(key, value) out[#out + 1] = {key, value} end)
  return out
end
