--- Named locks that many may hold for reading, or one for writing. Who comes first is
--- served first: a writer in line lets no more readers in. What is held is lost when
--- `ttl` seconds pass without a sign of life, by the log clock. Each acquisition has a
--- token that only grows, for what the lock protects to refuse lower ones.
---
--- A change costs O(log n + length of the line). A lock has at most 500 readers and
--- 1,000 in line; a holder has one replicated timer, and the cluster has 1,000,000.
---
--- Events: `acquired` (name, owner, token), `released` (name, owner), `expired` (name,
--- owner).
local RWLock = object "rwlock"

function RWLock:init()
  self.rooms = {}                            -- name -> {holders, count, writer, line, last}
end

local text_most, ttl_most, holders_most, line_most = 256, 86400, 500, 1000

local function need(ok, method, what)
  if not ok then
    error("rwlock:" .. method .. ": " .. what, 0)
  end
end

local function is_text(v)
  return type(v) == "string" and v ~= "" and #v <= text_most
end

local function is_ttl(v)
  return type(v) == "number" and v > 0 and v <= ttl_most
end

local function check(method, name, owner, mode)
  need(is_text(name), method, "name must be a text of 1 to " .. text_most .. " bytes")
  need(is_text(owner), method, "owner must be a text of 1 to " .. text_most .. " bytes")
  need(mode == "read" or mode == "write", method, 'mode must be "read" or "write"')
end

local function check_ttl(method, what, ttl)
  need(is_ttl(ttl), method, what .. " must be a number of seconds, above 0 and at most " .. ttl_most)
end

local function fits(room, mode)
  if mode == "write" then
    return room.count == 0
  end
  return not room.writer and room.count < holders_most
end

local function grant(room, name, owner, mode, ttl)
  local token = index()
  room.holders[owner] = {token = token, mode = mode, expires = now() + ttl, timer = after(ttl, "expire", name, owner, token)}
  room.count = room.count + 1
  if mode == "write" then
    room.writer = owner
  end
  emit("acquired", name, owner, token)
  return token
end

-- Lets in those that are first in line, as far as they fit, and drops what is not
-- needed any more.
local function settle(self, name)
  local room = self.rooms[name]
  for place, waiter in pairs(room.line) do
    if waiter.gone <= now() then
      room.line[place] = nil
    elseif fits(room, waiter.mode) then
      room.line[place] = nil
      grant(room, name, waiter.owner, waiter.mode, waiter.ttl)
    else
      break
    end
  end
  if room.count == 0 and not next(room.line) then
    self.rooms[name] = nil
  end
end

local function leave(self, name, owner, topic)
  local room = self.rooms[name]
  cancel(room.holders[owner].timer)
  room.holders[owner] = nil
  room.count = room.count - 1
  if room.writer == owner then
    room.writer = nil
  end
  emit(topic, name, owner)
  settle(self, name)
end

-- What an owner holds at the moment.
local function current(self, name, owner)
  local room = self.rooms[name]
  local holder = room and room.holders[owner]
  if holder and holder.expires <= now() then
    leave(self, name, owner, "expired")
    holder = nil
  end
  return holder
end

local function prolong(holder, name, owner, ttl)
  local sooner = now() + ttl < holder.expires
  holder.expires = now() + ttl               -- if it is later the timer finds that out
  if sooner then
    cancel(holder.timer)
    holder.timer = after(ttl, "expire", name, owner, holder.token)
  end
  return holder.token
end

--- Takes the lock `name` for `owner`, for `mode` "read" or "write", for `ttl` seconds.
--- Returns its token, or nil if it can't be had now. An owner that has it already
--- prolongs it and gets the same token.
function RWLock.replicated:try_acquire(name, owner, mode, ttl)
  check("try_acquire(name, owner, mode, ttl)", name, owner, mode)
  check_ttl("try_acquire(name, owner, mode, ttl)", "ttl", ttl)
  if self.rooms[name] then
    settle(self, name)                       -- those in line that have died don't count
  end
  local holder = current(self, name, owner)
  if holder then
    need(holder.mode == mode, "try_acquire(name, owner, mode, ttl)", owner .. " holds " .. name .. " for " .. holder.mode .. "; release it first")
    return prolong(holder, name, owner, ttl)
  end
  local room = self.rooms[name] or {holders = {}, count = 0, line = {}, last = 1}
  if next(room.line) or not fits(room, mode) then
    return nil
  end
  self.rooms[name] = room
  return grant(room, name, owner, mode, ttl)
end

--- As `try_acquire`, and waits in line if that gives nothing: `owner` gets it for
--- `ttl` seconds when its turn comes. Returns the token; or nil and the place in
--- line. A place is good for `patience` seconds (default `ttl`), until the next
--- `acquire`, so that who has died holds up nobody for longer.
function RWLock.replicated:acquire(name, owner, mode, ttl, patience)
  local token = self:try_acquire(name, owner, mode, ttl)
  if token then
    return token
  end
  patience = patience or ttl
  check_ttl("acquire(name, owner, mode, ttl, patience)", "patience", patience)
  local room, length, mine = self.rooms[name], 0, nil
  for place, waiter in pairs(room.line) do
    if waiter.owner == owner then
      length, mine = length + 1, waiter
      break
    elseif waiter.gone <= now() then
      room.line[place] = nil
    else
      length = length + 1
    end
  end
  if not mine then
    need(length < line_most, "acquire", line_most .. " wait for " .. name .. " already")
    room.last = room.last + 1                -- from 2: a table's key 1 starts its sequence
    length, mine = length + 1, {owner = owner}
    room.line[room.last] = mine
  end
  mine.ttl, mine.gone, mine.mode = ttl, now() + patience, mode
  return nil, length
end

--- Prolongs what `owner` holds to `ttl` seconds from now. Returns its token, or nil
--- if `owner` has lost it.
function RWLock.replicated:prolong(name, owner, ttl)
  check_ttl("prolong(name, owner, ttl)", "ttl", ttl)
  local holder = current(self, name, owner)
  return holder and prolong(holder, name, owner, ttl)
end

--- Gives back what `owner` holds, or its place in line. Returns whether it held
--- something.
function RWLock.replicated:release(name, owner)
  if current(self, name, owner) then
    leave(self, name, owner, "released")
    return true
  end
  local room = self.rooms[name]
  if room then
    for place, waiter in pairs(room.line) do
      if waiter.owner == owner then
        room.line[place] = nil
      end
    end
    settle(self, name)
  end
  return false
end

--- Frees what was not prolonged in time. A replicated timer calls it.
function RWLock.replicated:expire(name, owner, token)
  local room = self.rooms[name]
  local holder = room and room.holders[owner]
  if not holder or holder.token ~= token then
    return
  end
  if holder.expires <= now() then
    leave(self, name, owner, "expired")
  else                                       -- it was prolonged meanwhile
    cancel(holder.timer)
    holder.timer = after(holder.expires - now(), "expire", name, owner, token)
  end
end

--- Returns whether `owner` holds the lock, for what mode, for how many seconds more,
--- and its token.
function RWLock.query:is_held(name, owner)
  local room = self.rooms[name]
  local holder = room and room.holders[owner]
  if not holder or holder.expires <= now() then
    return false
  end
  return true, holder.mode, holder.expires - now(), holder.token
end

--- Returns the writer (nil: none), how many hold the lock, and how many are in line.
function RWLock.query:status(name)
  local room, waiting = self.rooms[name], 0
  if not room then
    return nil, 0, 0
  end
  for _ in pairs(room.line) do
    waiting = waiting + 1
  end
  return room.writer, room.count, waiting
end

-- Watches over what has to be prolonged. call(f) calls f, whose answer says that
-- all is well for a ttl from before the call: the cluster counts from later, so
-- the handle never says that it holds what it does not any more. start(f) calls f
-- four times per ttl.
local function guard(handle, ttl, on_lost)
  local g = {over = false}
  function g.stop()
    g.over = true
    if g.doom then
      g.doom:stop()
    end
    if g.beat then
      g.beat:stop()
    end
  end
  local function lose()
    if not g.over then
      g.stop()
      handle.lost = true
      if on_lost and handle.token then
        on_lost(handle)
      end
    end
  end
  function g.call(f)
    local doom = after(ttl, lose)
    local answered, kept, more = pcall(f)
    if g.over or not answered or not kept then
      doom:stop()
    else
      if g.doom then
        g.doom:stop()
      end
      g.doom = doom
    end
    return answered, kept, more
  end
  function g.start(f)
    g.beat = every(ttl / 4, function()
      local answered, kept = g.call(f)
      if answered and not kept then          -- without an answer the next beat tries again
        lose()
      end
    end)
  end
  return g
end

--- Acquires and keeps it: prolongs it four times per `ttl` (default 10) in the
--- background, from where it is called. With `wait` it waits in line for up to that
--- many seconds. Returns a handle with `token`, `lost` (true once it could not be
--- kept; on_lost(handle), if given, is called then) and `handle:release()`; nil if it
--- could not be had.
function RWLock:hold(name, owner, mode, ttl, on_lost, wait)
  ttl = ttl or 10
  local handle = {name = name, owner = owner, lost = false}
  local patience, room = math.max(ttl, 5), self
  local deadline, keeper, news = now() + (wait or 0), nil, nil
  local function stand()
    while true do
      keeper = guard(handle, ttl, on_lost)
      local answered, token = keeper.call(function()
        if wait then
          return self:acquire(name, owner, mode, ttl, patience)
        end
        return self:try_acquire(name, owner, mode, ttl)
      end)
      if not answered then
        keeper.stop()
        error(token, 0)
      end
      if token then
        handle.token = token
        return true
      end
      keeper.stop()
      handle.lost = false                    -- of a call that took longer than a ttl
      local left = deadline - now()
      if left <= 0 then
        return false
      end
      -- Watching costs no call; patience / 2 is when the place has to be renewed.
      local renew = now() + math.min(left, patience / 2)
      news = news or watch({object = self, path = {"rooms", name, "holders", owner}})
      repeat
        news:wait(math.max(0, renew - now()))
      until now() >= renew or self:is_held(name, owner)
    end
  end
  local well, got = pcall(stand)
  if news then
    news:stop()
  end
  if not well then
    error(got, 0)
  end
  if not got then
    if wait then
      room:release(name, owner)
    end
    return nil
  end
  function handle:release()
    keeper.stop()
    return room:release(name, owner)
  end
  if keeper.over then
    return handle                            -- acquiring took longer than the ttl
  end
  keeper.start(function()
    return self:prolong(name, owner, ttl) == handle.token
  end)
  return handle
end
