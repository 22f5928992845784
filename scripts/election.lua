--- Elections: of those who stand for an office one leads, until it resigns or `ttl`
--- seconds pass without a sign of life, by the log clock. Each time somebody is elected
--- there is a token that only grows: hand it to what the leader changes, and have it
--- refuse lower tokens.
---
--- Changes are O(log n). An office that is held has one replicated timer, and the
--- cluster has 1,000,000; an office without a leader takes no room.
---
--- Events: `elected` (name, candidate, token), `vacant` (name, candidate that led).
local Election = object "election"

function Election:init()
  self.offices = {}                          -- name -> {leader, token, expires, timer}
end

local function check(method, name, candidate)
  if type(name) ~= "string" or name == "" or #name > 256 then
    error("election:" .. method .. ": name must be a text of 1 to 256 bytes", 0)
  end
  if type(candidate) ~= "string" or candidate == "" or #candidate > 256 then
    error("election:" .. method .. ": candidate must be a text of 1 to 256 bytes", 0)
  end
end

local function vacate(self, name)
  local office = self.offices[name]
  cancel(office.timer)
  self.offices[name] = nil
  emit("vacant", name, office.leader)
end

-- The office if somebody leads at the moment.
local function settle(self, name)
  local office = self.offices[name]
  if office and office.expires <= now() then
    vacate(self, name)                       -- its timer is about to
    return nil
  end
  return office
end

--- Stands for the office `name`, for `ttl` seconds if elected. Returns the token if
--- `candidate` leads now; a leader that stands again goes on for `ttl` seconds with the
--- same token. Returns nil and the leader if somebody else leads.
function Election.replicated:stand(name, candidate, ttl)
  check("stand(name, candidate, ttl)", name, candidate)
  if type(ttl) ~= "number" or not (ttl > 0 and ttl <= 86400) then
    error("election:stand(name, candidate, ttl): ttl must be a number of seconds, above 0 and at most 86400", 0)
  end
  local office = settle(self, name)
  if office and office.leader ~= candidate then
    return nil, office.leader
  end
  if not office then
    office = {leader = candidate, token = index()}
    self.offices[name] = office
    emit("elected", name, candidate, office.token)
  end
  if not office.timer or now() + ttl < office.expires then
    if office.timer then
      cancel(office.timer)
    end
    office.timer = after(ttl, "expire", name, office.token)
  end
  office.expires = now() + ttl               -- if it is later the timer finds that out
  return office.token
end

--- Gives an office up. Returns whether `candidate` led.
function Election.replicated:resign(name, candidate)
  check("resign(name, candidate)", name, candidate)
  local office = settle(self, name)
  if not office or office.leader ~= candidate then
    return false
  end
  vacate(self, name)
  return true
end

--- Ends the time of a leader that gave no sign of life. A replicated timer calls it.
function Election.replicated:expire(name, token)
  local office = self.offices[name]
  if not office or office.token ~= token then
    return
  end
  if settle(self, name) then                 -- it has stood again meanwhile
    cancel(office.timer)
    office.timer = after(office.expires - now(), "expire", name, token)
  end
end

--- Returns who leads, for how many seconds more, and the token; nil if nobody does.
function Election.query:leader(name)
  local office = self.offices[name]
  if not office or office.expires <= now() then
    return nil
  end
  return office.leader, office.expires - now(), office.token
end

--- Stands for an office in the background, for as long as the caller runs: waits,
--- without asking, until it is vacant, and once elected keeps it by standing again four
--- times per `ttl` (default 10). Calls on_elected(handle) and on_lost(handle), if given,
--- each time that happens. Returns a handle with `leading`, `token` and
--- `handle:resign()`, which ends the campaign.
function Election:campaign(name, candidate, ttl, on_elected, on_lost)
  ttl = ttl or 10
  local election, handle, doom, news, over = self, {leading = false}, nil, nil, false
  local function lose()
    if handle.leading then
      handle.leading, handle.token = false, nil
      if on_lost then
        on_lost(handle)
      end
    end
  end
  -- Stands if the office may be had. Returns false when the cluster did not answer who
  -- leads.
  local function step()
    if not handle.leading then               -- looking costs no write
      local answered, leader = pcall(function() return election:leader(name) end)
      if over or not answered or leader and leader ~= candidate then
        return answered
      end
    end
    -- It counts from before a call that the cluster counts from later: the handle
    -- never says that it leads when it does not any more.
    local late = false
    local next_doom = after(ttl, function()
      late = true
      lose()
    end)
    local answered, token = pcall(function() return election:stand(name, candidate, ttl) end)
    if over or late or not answered or not token then
      next_doom:stop()
      if answered and not token then
        lose()
      end
      return true
    end
    if doom then
      doom:stop()
    end
    doom = next_doom
    if token ~= handle.token then
      lose()                                 -- it was another time in office
      handle.leading, handle.token = true, token
      if on_elected then
        after(0, function() on_elected(handle) end)
      end
    end
    return true
  end
  -- Waits until it is time to stand again. That the office is vacant is news; who leads
  -- has only to stand again in time.
  local function wait()
    local due = now() + (handle.leading and ttl / 4 or math.huge)
    repeat
      news:wait(math.max(0, due - now()))
    until over or not handle.leading or now() >= due
  end
  function handle:resign()
    over = true
    if news then
      news:stop()
    end
    if doom then
      doom:stop()
    end
    self.leading, self.token = false, nil
    return election:resign(name, candidate)
  end
  step()
  after(0, function()
    while not over do
      pcall(function()                       -- a cluster out of reach can't be watched
        news = watch({object = election, path = {"offices", name, "leader"}})
        repeat
          wait()
        until over or news.blind or not step()
      end)
      if news then
        news:stop()
        news = nil
      end
      if not over then
        sleep(math.min(0.5, ttl / 4))
        step()
      end
    end
  end)
  return handle
end
