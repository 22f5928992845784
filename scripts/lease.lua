--- Leases: an agreement for some seconds, to be renewed in time. Values can be attached
--- to one under keys, and go with it: what a client that died has left behind
--- vanishes by itself. Time is the log clock.
---
--- Changes are O(log n); the end of a lease is O(its keys). There are at most 100,000
--- leases, with 1,000 keys each.
---
--- Events: `ended` (id, "revoked" or "expired").
local Lease = object "lease"

local leases_most, keys_most = 100000, 1000

function Lease:init()
  self.leases = {}                           -- id -> {ttl, expires, timer, keys, count}
  self.count = 0
  self.last = 1                              -- id
  self.data = {}                             -- key -> {value, lease}
end

local function check_ttl(method, ttl)
  if type(ttl) ~= "number" or not (ttl > 0 and ttl <= 86400) then
    error("lease:" .. method .. ": ttl must be a number of seconds, above 0 and at most 86400", 0)
  end
end

local function check_key(method, key)
  if type(key) ~= "string" or key == "" or #key > 256 then
    error("lease:" .. method .. ": key must be a text of 1 to 256 bytes", 0)
  end
end

local function finish(self, id, why)
  local lease = self.leases[id]
  cancel(lease.timer)
  for key in pairs(lease.keys) do
    self.data[key] = nil
  end
  self.leases[id] = nil
  self.count = self.count - 1
  emit("ended", id, why)
end

-- The lease if it still runs.
local function current(self, id)
  local lease = self.leases[id]
  if lease and lease.expires <= now() then
    finish(self, id, "expired")              -- its timer is about to
    return nil
  end
  return lease
end

local function detach(self, key)
  local entry = self.data[key]
  local lease = self.leases[entry.lease]
  lease.keys[key] = nil
  lease.count = lease.count - 1
  self.data[key] = nil
end

--- Makes a lease of `ttl` seconds and returns its id, a number that only grows and so
--- is a fencing token too.
function Lease.replicated:grant(ttl)
  check_ttl("grant(ttl)", ttl)
  if self.count >= leases_most then
    error("lease:grant(ttl): there are " .. leases_most .. " leases already", 0)
  end
  local id = math.max(index(), self.last + 1)
  self.last = id
  self.leases[id] = {ttl = ttl, expires = now() + ttl, timer = after(ttl, "expire", id), keys = {}, count = 0}
  self.count = self.count + 1
  return id
end

--- Prolongs a lease to its ttl from now. Returns false if it has ended.
function Lease.replicated:prolong(id)
  local lease = current(self, id)
  if not lease then
    return false
  end
  lease.expires = now() + lease.ttl          -- the timer finds that out
  return true
end

--- Ends a lease, and removes its keys. Returns false if it had ended.
function Lease.replicated:revoke(id)
  if not current(self, id) then
    return false
  end
  finish(self, id, "revoked")
  return true
end

--- Stores `value` under `key` for as long as the lease runs; nil removes the key. A key
--- that was attached to another lease moves to this one. Returns false if the lease has
--- ended.
function Lease.replicated:attach(id, key, value)
  check_key("attach(id, key, value)", key)
  local lease = current(self, id)
  if not lease then
    return false
  end
  if self.data[key] then
    detach(self, key)
  end
  if value == nil then
    return true
  end
  if lease.count >= keys_most then
    error("lease:attach(id, key, value): a lease has at most " .. keys_most .. " keys", 0)
  end
  lease.keys[key] = true
  lease.count = lease.count + 1
  self.data[key] = {value = copy(value), lease = id}
  return true
end

--- Ends a lease whose time is over. A replicated timer calls it.
function Lease.replicated:expire(id)
  local lease = current(self, id)
  if lease then                              -- it was prolonged meanwhile
    cancel(lease.timer)
    lease.timer = after(lease.expires - now(), "expire", id)
  end
end

--- Returns the value of a key, and the id of its lease; nil if there is none.
function Lease.query:get(key)
  check_key("get(key)", key)
  local entry = self.data[key]
  if not entry or self.leases[entry.lease].expires <= now() then
    return nil
  end
  return entry.value, entry.lease
end

--- Returns how many seconds a lease runs on, and how many keys it has; nil if it has
--- ended.
function Lease.query:left(id)
  local lease = self.leases[id]
  if not lease or lease.expires <= now() then
    return nil
  end
  return lease.expires - now(), lease.count
end

--- Makes a lease and prolongs it four times per `ttl` (default 10) in the background,
--- from where it is called. Returns a handle with `id`, `lost` (true once it could not
--- be kept; on_lost(handle), if given, is called then), `handle:attach(key, value)` and
--- `handle:release()`.
function Lease:hold(ttl, on_lost)
  ttl = ttl or 10
  local lease, handle, over, beat = self, {lost = false}, false, nil
  local function finish_here()
    over = true
    if beat then
      beat:stop()
    end
  end
  local doom
  local function lose()
    if not over then
      finish_here()
      handle.lost = true
      if on_lost and handle.id then
        on_lost(handle)
      end
    end
  end
  -- Each doom counts from before a call that the cluster counts from later: the
  -- handle never says that the lease runs when it does not any more.
  doom = after(ttl, lose)
  local answered, id = pcall(function() return lease:grant(ttl) end)
  if not answered then
    doom:stop()
    error(id, 0)
  end
  handle.id = id
  function handle:attach(key, value)
    return lease:attach(id, key, value)
  end
  function handle:release()
    finish_here()
    doom:stop()
    return lease:revoke(id)
  end
  if over then
    return handle                            -- granting took longer than the ttl
  end
  beat = every(ttl / 4, function()
    local next_doom = after(ttl, lose)
    local prolonged, kept = pcall(function() return lease:prolong(id) end)
    if over or not prolonged then
      next_doom:stop()                       -- no answer: the next beat tries again
    elseif not kept then
      next_doom:stop()
      doom:stop()
      lose()
    else
      doom:stop()
      doom = next_doom
    end
  end)
  return handle
end
