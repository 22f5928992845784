--- A set of strings, numbers and booleans. It holds at most 100,000 members; a call
--- that would add one more fails.
local Set = object "set"

local most = 100000

function Set:init()
  self.data = {}                             -- member -> true
  self.count = 0
end

local function check_member(method, member)
  local t = type(member)
  if t ~= "string" and t ~= "number" and t ~= "boolean" then
    error("set:" .. method .. "(member): member must be a string, number or boolean, not " .. t, 0)
  end
end

local function check_list(method, members)
  if type(members) ~= "table" then
    error("set:" .. method .. "(members): members must be a list, not " .. type(members), 0)
  end
end

local function include(self, method, member)
  check_member(method, member)
  if self.data[member] then
    return false
  end
  if self.count >= most then
    error("set:" .. method .. ": a set holds at most " .. most .. " members", 0)
  end
  self.data[member] = true
  self.count = self.count + 1
  return true
end

local function exclude(self, member)
  if not self.data[member] then
    return false
  end
  self.data[member] = nil
  self.count = self.count - 1
  return true
end

--- Replaces all members by those of the list `members` (default: none). O(n).
function Set.replicated:reset(members)
  check_list("reset", members or {})
  self.data, self.count = {}, 0
  for _, member in pairs(members or {}) do
    include(self, "reset", member)
  end
end

--- Adds a member. Returns whether it is new. O(log n).
function Set.replicated:add(member)
  return include(self, "add", member)
end

--- Adds all members of the list `members`. Returns how many are new.
--- O(members * log n).
function Set.replicated:update(members)
  check_list("update", members)
  local added = 0
  for _, member in pairs(members) do
    if include(self, "update", member) then
      added = added + 1
    end
  end
  return added
end

--- Removes a member; it is an error if it is none. O(log n).
function Set.replicated:remove(member)
  check_member("remove", member)
  if not exclude(self, member) then
    error("set:remove(member): " .. tostring(member) .. " is no member", 0)
  end
end

--- Removes a member. Returns whether it was one. O(log n).
function Set.replicated:discard(member)
  check_member("discard", member)
  return exclude(self, member)
end

--- Removes and returns the member that is first in order, nil from an empty set.
--- O(log n).
function Set.replicated:pop()
  local member = next(self.data)
  if member ~= nil then
    exclude(self, member)
  end
  return member
end

--- Removes all members. Charged as O(1).
function Set.replicated:clear()
  self.data, self.count = {}, 0
end

--- Returns whether `member` is one. O(log n).
function Set.query:contains(member)
  check_member("contains", member)
  return self.data[member] == true
end

--- Returns how many members there are. O(1).
function Set.query:len()
  return self.count
end

--- Returns up to `limit` (default 1000) members in order, those after
--- `after_member` if it is given: pass the last one to get the next page.
--- O(limit * log n).
function Set.query:members(limit, after_member)
  local out = {}
  local member = next(self.data, after_member)
  while member ~= nil and #out < (limit or 1000) do
    out[#out + 1] = member
    member = next(self.data, member)
  end
  return out
end
