--- A chat. `room = chat:enter("anna")` shows what was said lately and then all that
--- is said, once and in order, whichever nodes are lost; `room:say(text)` says
--- something. The last 100 messages are kept. Changes are O(log n).
---
--- Events: `chat` (line) for each message, and for who comes and goes.
local Chat = object "chat"

local lines_most, people_most = 100, 1000

function Chat:init()
  self.people, self.count = {}, 0            -- name -> true
  self.lines = {}                            -- number -> line, the last ones
  self.first, self.last = 2, 1               -- from 2: a table's key 1 starts its sequence
end

local function check_name(method, name)
  if type(name) ~= "string" or name == "" or #name > 64 then
    error("chat:" .. method .. ": name must be a text of 1 to 64 bytes", 0)
  end
end

local function write(self, line)
  self.last = self.last + 1
  self.lines[self.last] = line
  if self.last - self.first >= lines_most then
    self.lines[self.first] = nil
    self.first = self.first + 1
  end
  emit("chat", line)
end

--- Joins. Returns the log index of the call, and what was said up to it: all else
--- comes as events behind that index.
function Chat.replicated:join(name)
  check_name("join(name)", name)
  if not self.people[name] then
    if self.count >= people_most then
      error("chat:join(name): " .. people_most .. " are here already", 0)
    end
    self.people[name], self.count = true, self.count + 1
  end
  local before = {}
  for i = self.first, self.last do
    before[#before + 1] = self.lines[i]
  end
  write(self, "* " .. name .. " joins")
  return index(), before
end

--- Says something.
function Chat.replicated:say(name, text)
  check_name("say(name, text)", name)
  if type(text) ~= "string" or text == "" or #text > 1000 then
    error("chat:say(name, text): text must be a text of 1 to 1000 bytes", 0)
  end
  if not self.people[name] then
    error("chat:say(name, text): " .. name .. " has not joined", 0)
  end
  write(self, name .. ": " .. text)
end

--- Leaves.
function Chat.replicated:leave(name)
  check_name("leave(name)", name)
  if self.people[name] then
    self.people[name], self.count = nil, self.count - 1
    write(self, "* " .. name .. " leaves")
  end
end

--- Returns who is here, in order.
function Chat.query:who()
  local out = {}
  for name in pairs(self.people) do
    out[#out + 1] = name
  end
  return out
end

--- Enters the chat from where it is called: prints what was said lately, and goes on
--- to print what is said. Returns a room with `room:say(text)` and `room:leave()`.
function Chat:enter(name)
  local chat = self
  local at, before = chat:join(name)
  for _, line in ipairs(before) do
    print(line)
  end
  local w = watch({topic = "chat", from = at}, print)
  local room = {}
  function room:say(text)
    chat:say(name, text)
  end
  function room:leave()
    w:stop()
    chat:leave(name)
  end
  return room
end
