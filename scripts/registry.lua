--- A registry of services: who serves what, and where. An instance is registered for `ttl`
--- seconds and vanishes when it gives no sign of life in that time, by the log clock.
---
--- A change is O(log n), `find` O(limit * log n). There are at most 100,000 instances, of
--- all services together; each has one replicated timer. Data of an instance may have up
--- to 4,096 bytes as JSON.
---
--- Events: `up` (service, id), `changed` (service, id), `down` (service, id, "removed" or
--- "expired").
local Registry = object "registry"

local instances_most, data_most = 100000, 4096

function Registry:init()
  self.services = {}                         -- service -> id -> {data, token, expires, timer}
  self.count = 0                             -- of all instances
end

local function check(method, what, v)
  if type(v) ~= "string" or v == "" or #v > 256 then
    error("registry:" .. method .. ": " .. what .. " must be a text of 1 to 256 bytes", 0)
  end
end

local function check_ttl(method, ttl)
  if type(ttl) ~= "number" or not (ttl > 0 and ttl <= 86400) then
    error("registry:" .. method .. ": ttl must be a number of seconds, above 0 and at most 86400", 0)
  end
end

-- The instance, whether its time is over or not.
local function find(self, service, id)
  return self.services[service] and self.services[service][id]
end

local function drop(self, service, id, why)
  local instances = self.services[service]
  cancel(instances[id].timer)
  instances[id] = nil
  if not next(instances) then
    self.services[service] = nil
  end
  self.count = self.count - 1
  emit("down", service, id, why)
end

-- The instance if its time is not over.
local function current(self, service, id)
  local instance = find(self, service, id)
  if instance and instance.expires <= now() then
    drop(self, service, id, "expired")       -- its timer is about to
    return nil
  end
  return instance
end

local function prolong(instance, service, id, ttl)
  local expires = now() + ttl
  if not instance.timer or expires < instance.expires then
    if instance.timer then
      cancel(instance.timer)
    end
    instance.timer = after(ttl, "expire", service, id, instance.token)
  end
  instance.expires = expires                 -- if it is later the timer finds that out
end

--- Registers an instance of a service, for `ttl` seconds, with some data: an address, or
--- a table. One that is there is replaced, and keeps its token. Returns the token, a
--- number that only grows.
function Registry.replicated:register(service, id, data, ttl)
  local method = "register(service, id, data, ttl)"
  check(method, "service", service)
  check(method, "id", id)
  check_ttl(method, ttl)
  local text = data ~= nil and json.encode(data) or ""
  if #text > data_most then
    error("registry:" .. method .. ": data must have at most " .. data_most .. " bytes as JSON", 0)
  end
  local instance = current(self, service, id)
  local news = "up"
  if instance then
    news = (instance.data ~= nil and json.encode(instance.data) or "") ~= text and "changed" or nil
  else
    if self.count >= instances_most then
      error("registry:" .. method .. ": there are " .. instances_most .. " instances already", 0)
    end
    self.count = self.count + 1
    instance = {token = index()}
    self.services[service] = self.services[service] or {}
    self.services[service][id] = instance
  end
  instance.data = copy(data)
  prolong(instance, service, id, ttl)
  if news then
    emit(news, service, id)
  end
  return instance.token
end

--- Prolongs an instance to `ttl` seconds from now. Returns its token, nil if it is gone.
function Registry.replicated:renew(service, id, ttl)
  check_ttl("renew(service, id, ttl)", ttl)
  local instance = current(self, service, id)
  if not instance then
    return nil
  end
  prolong(instance, service, id, ttl)
  return instance.token
end

--- Removes an instance. Returns whether it was there.
function Registry.replicated:remove(service, id)
  if not current(self, service, id) then
    return false
  end
  drop(self, service, id, "removed")
  return true
end

--- Removes an instance that gave no sign of life. A replicated timer calls it.
function Registry.replicated:expire(service, id, token)
  local instance = find(self, service, id)
  if not instance or instance.token ~= token then
    return
  end
  if current(self, service, id) then         -- it was prolonged meanwhile
    cancel(instance.timer)
    instance.timer = after(instance.expires - now(), "expire", service, id, token)
  end
end

--- Returns the data of an instance and its token; nil if it is not there.
function Registry.query:get(service, id)
  local instance = find(self, service, id)
  if not instance or instance.expires <= now() then
    return nil
  end
  return instance.data, instance.token
end

--- Returns up to `limit` (default 1000) instances of a service, as a list of tables with
--- `id`, `data` and `token`, in the order of ids, those after `after_id` if it is given.
function Registry.query:find(service, limit, after_id)
  local out, instances = {}, self.services[service] or {}
  local id, instance = next(instances, after_id)
  while id and #out < (limit or 1000) do
    if instance.expires > now() then
      out[#out + 1] = {id = id, data = instance.data, token = instance.token}
    end
    id, instance = next(instances, id)
  end
  return out
end

--- Returns one instance of a service, `id` and `data`, each equally likely; nil if there is
--- none. O(number of instances).
function Registry.query:pick(service)
  local chosen, n = nil, 0
  for id, instance in pairs(self.services[service] or {}) do
    if instance.expires > now() then
      n = n + 1
      if random(n) == 1 then
        chosen = id
      end
    end
  end
  if chosen then
    return chosen, self.services[service][chosen].data
  end
  return nil
end

--- Returns up to `limit` (default 1000) names of services in order, those after
--- `after_service` if it is given.
function Registry.query:names(limit, after_service)
  local out = {}
  local service = next(self.services, after_service)
  while service and #out < (limit or 1000) do
    out[#out + 1] = service
    service = next(self.services, service)
  end
  return out
end

--- Registers an instance and keeps it: renews it four times per `ttl` (default 10) in the
--- background, from where it is called, and registers it again if it was lost, then
--- calling on_lost(handle) if that is given. Returns a handle with `token`,
--- `handle:update(data)` and `handle:stop()`, which removes the instance.
function Registry:announce(service, id, data, ttl, on_lost)
  ttl = ttl or 10
  local registry, handle, over = self, {}, false
  handle.token = self:register(service, id, data, ttl)
  local beat = every(ttl / 4, function()
    local answered, token = pcall(function() return registry:renew(service, id, ttl) end)
    if answered and not token and not over then
      answered, token = pcall(function() return registry:register(service, id, data, ttl) end)
      if answered then
        handle.token = token
        if over then
          registry:remove(service, id)       -- it was stopped while it came back
        elseif on_lost then
          on_lost(handle)
        end
      end
    end
  end)
  function handle:update(new)
    data = new
    self.token = registry:register(service, id, data, ttl)
  end
  function handle:stop()
    over = true
    beat:stop()
    return registry:remove(service, id)
  end
  return handle
end
