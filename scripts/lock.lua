--- Named locks that free themselves when their holder dies.
---
--- A lock is held by an owner, a text of its choice, until it is released or
--- `ttl` seconds pass without a sign of life. Time is the log clock, so all nodes
--- agree on who holds what. Each acquisition has a token that only grows: hand it
--- to what the lock protects, and have it refuse lower tokens. Others may wait in
--- line: the lock goes to the first of them that still waits.
---
--- A change costs O(log n), with others in line O(length of the line). At most 1,000
--- wait for a lock; a held lock has one replicated timer, and the cluster has
--- 1,000,000 of them.
---
--- Events: `acquired` (name, owner, token), `released` (name, owner), `expired` (name,
--- owner).
local Lock = object "lock"

function Lock:init()
  self.held = {}                             -- name -> {owner, token, expires, timer, line, last}
end

local line_most, text_most = 1000, 256

local function check(method, name, owner)
  if type(name) ~= "string" or name == "" then
    error("lock:" .. method .. "(name, ...): name must be a text", 0)
  end
  if type(owner) ~= "string" or owner == "" then
    error("lock:" .. method .. "(name, owner, ...): owner must be a text", 0)
  end
  if #name > text_most or #owner > text_most then
    error("lock:" .. method .. "(name, owner, ...): name and owner must have at most " .. text_most .. " bytes", 0)
  end
end

local function check_ttl(method, ttl)
  if type(ttl) ~= "number" or not (ttl > 0 and ttl <= 86400) then
    error("lock:" .. method .. "(name, owner, ttl): ttl must be a number of seconds, above 0 and at most 86400", 0)
  end
end

-- The entry of a lock that is held at the moment.
local function current(self, name)
  local lock = self.held[name]
  if lock and lock.expires > now() then
    return lock
  end
end

local function grant(lock, name, owner, ttl)
  lock.owner, lock.token, lock.expires = owner, index(), now() + ttl
  lock.timer = after(ttl, "expire", name, lock.token)
  emit("acquired", name, owner, lock.token)
end

-- Hands a lock on to the first in line that still waits, or drops it.
local function pass(self, name, lock)
  cancel(lock.timer)
  local line = lock.line or {}
  for place, waiter in pairs(line) do
    line[place] = nil
    if waiter.gone > now() then
      if not next(line) then
        lock.line, lock.last = nil, nil
      end
      return grant(lock, name, waiter.owner, waiter.ttl)
    end
  end
  self.held[name] = nil
end

-- Passes on a lock whose time is over, if its timer has not done it yet.
local function settle(self, name)
  local lock = self.held[name]
  if lock and lock.expires <= now() then
    emit("expired", name, lock.owner)
    pass(self, name, lock)
  end
  return self.held[name]
end

local function prolong(lock, name, ttl)
  local sooner = now() + ttl < lock.expires
  lock.expires = now() + ttl                 -- if it is later the timer finds that out
  if sooner then
    cancel(lock.timer)
    lock.timer = after(ttl, "expire", name, lock.token)
  end
  return lock.token
end

--- Takes the lock `name` for `owner` for `ttl` seconds. Returns its token, or nil
--- and the present owner if somebody else holds it. An owner that holds the lock
--- already prolongs it and gets the same token.
function Lock.replicated:try_acquire(name, owner, ttl)
  check("try_acquire", name, owner)
  check_ttl("try_acquire", ttl)
  local lock = settle(self, name)
  if lock and lock.owner ~= owner then
    return nil, lock.owner
  end
  if lock then
    return prolong(lock, name, ttl)
  end
  lock = {}
  self.held[name] = lock
  grant(lock, name, owner, ttl)
  return lock.token
end

--- As `try_acquire`, and waits in line if somebody else holds the lock: `owner` gets
--- it for `ttl` seconds when those before it are done. Returns its token; or nil, the
--- present owner and the place in line. A place is good for `patience` seconds
--- (default `ttl`), until the next `acquire`, so that who has died holds up nobody.
function Lock.replicated:acquire(name, owner, ttl, patience)
  check("acquire", name, owner)
  check_ttl("acquire", ttl)
  patience = patience or ttl
  if type(patience) ~= "number" or not (patience > 0 and patience <= 86400) then
    error("lock:acquire(name, owner, ttl, patience): patience must be a number of seconds, above 0 and at most 86400", 0)
  end
  local token, holder = self:try_acquire(name, owner, ttl)
  if token then
    return token
  end
  local lock, length, mine = self.held[name], 0, nil
  lock.line = lock.line or {}
  for place, waiter in pairs(lock.line) do
    if waiter.owner == owner then
      length, mine = length + 1, waiter
      break
    elseif waiter.gone <= now() then
      lock.line[place] = nil
    else
      length = length + 1
    end
  end
  if not mine then
    if length >= line_most then
      error("lock:acquire(name, owner, ttl, patience): " .. line_most .. " wait for " .. name .. " already", 0)
    end
    lock.last = (lock.last or 1) + 1         -- from 2: a table's key 1 starts its sequence
    length, mine = length + 1, {owner = owner}
    lock.line[lock.last] = mine
  end
  mine.ttl, mine.gone = ttl, now() + patience
  return nil, holder, length
end

--- Prolongs a lock that `owner` holds to `ttl` seconds from now. Returns its
--- token, or nil if `owner` has lost it.
function Lock.replicated:prolong(name, owner, ttl)
  check("prolong", name, owner)
  check_ttl("prolong", ttl)
  local lock = settle(self, name)
  if not lock or lock.owner ~= owner then
    return nil
  end
  return prolong(lock, name, ttl)
end

--- Gives back a lock, or the place in line. Returns whether `owner` held the lock.
function Lock.replicated:release(name, owner)
  check("release", name, owner)
  local lock = settle(self, name)
  if lock and lock.owner == owner then
    emit("released", name, owner)
    pass(self, name, lock)
    return true
  end
  for place, waiter in pairs(lock and lock.line or {}) do
    if waiter.owner == owner then
      lock.line[place] = nil
    end
  end
  if lock and lock.line and not next(lock.line) then
    lock.line, lock.last = nil, nil
  end
  return false
end

--- Frees a lock whose time is over. A replicated timer calls it.
function Lock.replicated:expire(name, token)
  local lock = self.held[name]
  if not lock or lock.token ~= token then
    return
  end
  if lock.expires <= now() then
    settle(self, name)
  else                                       -- it was prolonged meanwhile
    cancel(lock.timer)
    lock.timer = after(lock.expires - now(), "expire", name, token)
  end
end

--- Returns who holds the lock, for how many seconds more, and its token; nil if
--- nobody does.
function Lock.query:is_acquired(name)
  local lock = current(self, name)
  if not lock then
    return nil
  end
  return lock.owner, lock.expires - now(), lock.token
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

--- Takes the lock and keeps it: prolongs it four times per `ttl` (default 10) in the
--- background, from where it is called. With `wait` it waits in line for up to that
--- many seconds. Returns a handle with `token`, `lost` (true once the lock could not
--- be kept; on_lost(handle), if given, is called then) and `handle:release()`; nil
--- and the present owner if somebody else holds the lock.
function Lock:hold(name, owner, ttl, on_lost, wait)
  ttl = ttl or 10
  local handle = {name = name, owner = owner, lost = false}
  local patience = math.max(ttl, 5)
  local lock, deadline, renew, keeper, news = self, now() + (wait or 0), 0, nil, nil
  local function stand()
    while true do
      local answered, token, holder = true, nil, nil
      if wait and now() < renew then         -- in line: look, without a write, who holds it
        holder = self:is_acquired(name)
      end
      if not holder or holder == owner then
        keeper = guard(handle, ttl, on_lost)
        answered, token, holder = keeper.call(function()
          if wait then
            return self:acquire(name, owner, ttl, patience)
          end
          return self:try_acquire(name, owner, ttl)
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
        handle.lost = false                  -- of a call that took longer than a ttl
        renew = now() + patience / 2
      end
      local left = deadline - now()
      if left <= 0 then
        return false, holder
      end
      -- The line moves when the holder changes; the place in it has to be renewed.
      news = news or watch({object = self, path = {"held", name, "owner"}})
      news:wait(math.max(0, math.min(left, renew - now())))
    end
  end
  local well, got, holder = pcall(stand)
  if news then
    news:stop()
  end
  if not well then
    error(got, 0)
  end
  if not got then
    if wait and lock:release(name, owner) then
      return nil, nil                        -- it came at the very end
    end
    return nil, holder
  end
  function handle:release()
    keeper.stop()
    return lock:release(name, owner)
  end
  if keeper.over then
    return handle                            -- acquiring took longer than the ttl
  end
  keeper.start(function()
    return self:prolong(name, owner, ttl) == handle.token
  end)
  return handle
end
