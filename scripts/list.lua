--- A list of values in order. Positions count from 1, negative ones from the end:
--- -1 is the last. A value is anything but nil; tables are equal when what is in
--- them is. It holds at most 100,000 values; a call that would make it longer
--- fails. To look for a table costs as much as all that is compared.
local List = object "list"

local most = 100000

function List:init()
  self.items = {}
end

local function check_value(method, value)
  if value == nil then
    error("list:" .. method .. ": value must not be nil", 0)
  end
end

local function check_list(method, values)
  local n = 0
  if type(values) == "table" then
    for _ in pairs(values) do
      n = n + 1
    end
  end
  if type(values) ~= "table" or n ~= #values then
    error("list:" .. method .. "(values): values must be a list", 0)
  end
end

local function check_room(self, method, n)
  if #self.items + n > most then
    error("list:" .. method .. ": a list holds at most " .. most .. " values", 0)
  end
end

-- A position counted from 1, which must be one of 1 to last.
local function place(self, method, position, last)
  if type(position) ~= "number" or position % 1 ~= 0 then
    error("list:" .. method .. "(position, ...): position must be a whole number", 0)
  end
  local at = position
  if at < 0 then
    at = #self.items + 1 + at
  end
  if at < 1 or at > last then
    error("list:" .. method .. "(position, ...): no position " .. position .. " in a list of " .. #self.items, 0)
  end
  return at
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for k, v in pairs(a) do
    if not same(v, b[k]) then
      return false
    end
  end
  for k in pairs(b) do
    if a[k] == nil then
      return false
    end
  end
  return true
end

local function find(items, value)
  local deep = type(value) == "table"
  for i = 1, #items do
    local item = items[i]
    if item == value or deep and same(item, value) then
      return i
    end
  end
  return nil
end

--- Replaces all values by those of the list `values` (default: none). O(n).
function List.replicated:reset(values)
  values = values or {}
  check_list("reset", values)
  self.items = {}
  check_room(self, "reset", #values)
  self.items = copy(values)
end

--- Replaces the value at `position` and returns the one before. O(1).
function List.replicated:set(position, value)
  local at = place(self, "set", position, #self.items)
  check_value("set(position, value)", value)
  local before = self.items[at]
  self.items[at] = copy(value)
  return before
end

--- Puts `value` at the end and returns how many there are. O(1).
function List.replicated:append(value)
  check_value("append(value)", value)
  check_room(self, "append", 1)
  self.items[#self.items + 1] = copy(value)
  return #self.items
end

--- Puts the values of the list `values` at the end and returns how many there are.
--- O(how many are added).
function List.replicated:extend(values)
  check_list("extend", values)
  check_room(self, "extend", #values)
  local items, n = self.items, #self.items
  for i = 1, #values do
    items[n + i] = copy(values[i])
  end
  return #items
end

--- Puts `value` before the one at `position`, or at the end for one position more
--- than there are. O(n - position).
function List.replicated:insert(position, value)
  local at = place(self, "insert", position, #self.items + 1)
  check_value("insert(position, value)", value)
  check_room(self, "insert", 1)
  table.insert(self.items, at, copy(value))
  return #self.items
end

--- Removes the first value that equals `value`. Returns where it was, nil if it
--- was nowhere. O(n).
function List.replicated:remove(value)
  local at = find(self.items, value)
  if at then
    table.remove(self.items, at)
  end
  return at
end

--- Removes and returns the value at `position` (default: the last); nil from an
--- empty list. O(n - position).
function List.replicated:pop(position)
  if #self.items == 0 then
    return nil
  end
  return table.remove(self.items, place(self, "pop", position or -1, #self.items))
end

--- Sorts the values, which must be all numbers or all strings. Equal ones keep
--- their order. O(n log n): a call's budget (setting `instructions`) is enough for
--- some 20,000 values.
function List.replicated:sort(descending)
  if descending then
    table.sort(self.items, function(a, b) return a > b end)
  else
    table.sort(self.items)
  end
end

--- Returns the value at `position`, nil if there is none. O(1).
function List.query:get(position)
  if type(position) ~= "number" or position % 1 ~= 0 then
    error("list:get(position): position must be a whole number", 0)
  end
  if position < 0 then
    position = #self.items + 1 + position
  end
  return self.items[position]
end

--- Returns where the first value that equals `value` is, nil if nowhere. O(n).
function List.query:index(value)
  return find(self.items, value)
end

--- Returns how many values equal `value`. O(n).
function List.query:count(value)
  local n, items, deep = 0, self.items, type(value) == "table"
  for i = 1, #items do
    local item = items[i]
    if item == value or deep and same(item, value) then
      n = n + 1
    end
  end
  return n
end

--- Returns up to `limit` (default 1000) values as a list, from position `from`
--- (default 1) on. O(limit).
function List.query:values(limit, from)
  local out = {}
  from = from or 1
  for i = from, math.min(#self.items, from + (limit or 1000) - 1) do
    out[#out + 1] = self.items[i]
  end
  return out
end

--- Returns how many values there are. O(1).
function List.query:len()
  return #self.items
end
