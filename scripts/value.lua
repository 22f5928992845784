--- One value of any kind, to be changed by one caller at a time. Each change gives
--- it a version that only grows: read value and version, and let the write happen
--- only if the version is still that. Costs O(size of the value).
---
--- Events: `changed` (version).
local Value = object "value"

function Value:init()
  self.value = nil
  self.version = 0
end

local function store(self, value)
  self.value = copy(value)
  self.version = math.max(index(), self.version + 1)
  emit("changed", self.version)
  return self.version
end

--- Sets the value (nil removes it) and returns the one before.
function Value.replicated:set(value)
  local before = copy(self.value)
  store(self, value)
  return before
end

--- Compares and sets: stores `value` if the present one is `expected` (nil: none).
--- Returns whether it did, and the value there is now. For tables use
--- `set_version`: two tables are never equal.
function Value.replicated:swap(expected, value)
  if type(expected) == "table" then
    error("value:swap(expected, value): expected must be no table; use value:set_version(version, value)", 0)
  end
  if self.value ~= expected then
    return false, self.value
  end
  store(self, value)
  return true, value
end

--- Compares and sets by version: stores `value` if the version is still
--- `version`. Returns the new version; nil and the present one if it is not.
function Value.replicated:set_version(version, value)
  if type(version) ~= "number" then
    error("value:set_version(version, value): version must be a number", 0)
  end
  if version ~= self.version then
    return nil, self.version
  end
  return store(self, value)
end

--- Returns the value and its version, 0 before the first change.
function Value.query:get()
  return self.value, self.version
end
