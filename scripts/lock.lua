--- Named locks that free themselves when their holder dies.
---
--- A lock is held by an owner, a text of its choice, until it is released or
--- `ttl` seconds pass without a sign of life. Time is the log clock, so all nodes
--- agree on who holds what. Each acquisition has a token that only grows: hand it
--- to what the lock protects, and have it refuse lower tokens.
local Lock = object "lock"

function Lock:init()
  self.held = {}                             -- name -> {owner, token, expires, timer}
end

local function check(method, name, owner)
  if type(name) ~= "string" or name == "" then
    error("lock:" .. method .. "(name, ...): name must be a text", 0)
  end
  if type(owner) ~= "string" or owner == "" then
    error("lock:" .. method .. "(name, owner, ...): owner must be a text", 0)
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

--- Takes the lock `name` for `owner` for `ttl` seconds. Returns its token, or nil
--- and the present owner if somebody else holds it. An owner that holds the lock
--- already prolongs it and gets the same token.
function Lock.replicated:try_acquire(name, owner, ttl)
  check("try_acquire", name, owner)
  check_ttl("try_acquire", ttl)
  local lock = current(self, name)
  if lock and lock.owner ~= owner then
    return nil, lock.owner
  end
  if lock then
    lock.expires = now() + ttl               -- the timer finds that out
    return lock.token
  end
  local token = index()
  self.held[name] = {owner = owner, token = token, expires = now() + ttl, timer = after(ttl, "expire", name, token)}
  return token
end

--- Prolongs a lock that `owner` holds to `ttl` seconds from now. Returns its
--- token, or nil if `owner` has lost it.
function Lock.replicated:prolong(name, owner, ttl)
  check("prolong", name, owner)
  check_ttl("prolong", ttl)
  local lock = current(self, name)
  if not lock or lock.owner ~= owner then
    return nil
  end
  lock.expires = now() + ttl
  return lock.token
end

--- Gives back a lock. Returns whether `owner` held it.
function Lock.replicated:release(name, owner)
  check("release", name, owner)
  local lock = current(self, name)
  if not lock or lock.owner ~= owner then
    return false
  end
  cancel(lock.timer)
  self.held[name] = nil
  return true
end

--- Frees a lock whose time is over. A replicated timer calls it.
function Lock.replicated:expire(name, token)
  local lock = self.held[name]
  if not lock or lock.token ~= token then
    return
  end
  cancel(lock.timer)
  if lock.expires <= now() then
    self.held[name] = nil
  else                                       -- it was prolonged meanwhile
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

--- Takes the lock and keeps it: prolongs it four times per `ttl` in the
--- background, from where it is called. Returns a handle with `token`, `lost`
--- (true once the lock could not be kept) and `handle:release()`; nil and the
--- present owner if somebody else holds the lock.
function Lock:hold(name, owner, ttl)
  ttl = ttl or 10
  local handle = {name = name, owner = owner, lost = false}
  local over, beat, doom = false, nil, nil
  local function finish()
    over = true
    doom:stop()
    if beat then
      beat:stop()
    end
  end
  local function lose()
    if not over then
      handle.lost = true
      finish()
    end
  end
  -- Each doom counts from before a call that the cluster counts from later: the
  -- handle never says that the lock is held when it is not any more.
  doom = after(ttl, lose)
  local answered, token, holder = pcall(function() return self:try_acquire(name, owner, ttl) end)
  if not answered or not token then
    finish()
    if not answered then
      error(token, 0)
    end
    return nil, holder
  end
  handle.token = token
  local lock = self
  function handle:release()
    finish()
    return lock:release(name, owner)
  end
  if over then
    return handle                            -- acquiring took longer than the ttl
  end
  beat = every(ttl / 4, function()
    local next_doom = after(ttl, lose)
    local prolonged, kept = pcall(function() return self:prolong(name, owner, ttl) end)
    if over or not prolonged then
      next_doom:stop()                       -- no answer: the next beat tries again
    elseif kept ~= token then
      next_doom:stop()
      lose()
    else
      doom:stop()
      doom = next_doom
    end
  end)
  return handle
end
