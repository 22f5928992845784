--- A configuration store. Each setting has a rule, so no program that watches gets
--- to see a value that it can't use; values that belong together change together.
--- They lie in config.settings. Costs are O(log n) a setting.
local Config = object "config"

local settings_most = 1000

function Config:init()
  self.settings = {}                         -- name -> value
  self.rules = {}                            -- name -> {kind, least, most}
  self.count = 0
end

local function check(method, rule, name, value)
  if not rule then
    error("config:" .. method .. ": no setting " .. tostring(name), 0)
  end
  if type(value) ~= rule.kind then
    error("config:" .. method .. ": " .. name .. " must be a " .. rule.kind .. ", not a " .. type(value), 0)
  end
  local size = rule.kind == "string" and #value or value
  if rule.least and not (size >= rule.least and size <= rule.most) then
    error("config:" .. method .. ": " .. name .. " must be from " .. rule.least .. " to " .. rule.most, 0)
  end
end

--- Makes a setting with a first value. `least` and `most` bound a number, or the
--- length of a text.
function Config.replicated:define(name, value, least, most)
  local method = "define(name, value, least, most)"
  local kind = type(value)
  if type(name) ~= "string" or name == "" or #name > 64 then
    error("config:" .. method .. ": name must be a text of 1 to 64 bytes", 0)
  end
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    error("config:" .. method .. ": value must be a string, number or boolean", 0)
  end
  if kind == "boolean" then
    least, most = nil, nil
  elseif type(least) ~= "number" or type(most) ~= "number" then
    error("config:" .. method .. ": least and most must be numbers", 0)
  end
  if not self.rules[name] then
    if self.count >= settings_most then
      error("config:" .. method .. ": there are " .. settings_most .. " settings already", 0)
    end
    self.count = self.count + 1
  end
  local rule = {kind = kind, least = least, most = most}
  check(method, rule, name, value)
  self.rules[name], self.settings[name] = rule, value
end

--- Changes all settings of the table `values`, or none if one of them is refused.
function Config.replicated:set(values)
  if type(values) ~= "table" then
    error("config:set(values): values must be a table, such as {workers = 8}", 0)
  end
  for name, value in pairs(values) do
    check("set(values)", self.rules[name], name, value)
    self.settings[name] = value
  end
end

--- Returns the value of a setting, nil if there is none.
function Config.query:get(name)
  return self.settings[name]
end
