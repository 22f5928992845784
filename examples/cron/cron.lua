--- Runs of a cron job that is due once in each slot of some seconds. Who leads an
--- `election` does it, and the token of the election keeps out who led before: a
--- slot is done once, in order, and one that was missed is made up for. Every call
--- is O(1).
---
--- Events: `ran` (slot, who) when a slot is done.
local Cron = object "cron"

function Cron:init()
  self.last = 0                              -- slot that was done last
  self.token = 0                             -- highest that was seen
end

-- Refuses who was followed by another leader, and does not know it yet.
local function fence(self, method, token)
  if type(token) ~= "number" then
    error("cron:" .. method .. ": token must be a number, as the election gives it", 0)
  end
  if token < self.token then
    error("cron:" .. method .. ": another leads since token " .. token, 0)
  end
  self.token = token
end

--- Lets slots of `seconds` begin now.
function Cron.replicated:begin(seconds)
  if type(seconds) ~= "number" or not (seconds > 0 and seconds <= 86400) then
    error("cron:begin(seconds): seconds must be a number above 0 and at most 86400", 0)
  end
  self.begun, self.seconds, self.last = now(), seconds, 0
end

--- Returns the slot that is to be done now; nil if none is due. A slot whose run
--- never ended is given again.
function Cron.replicated:next(token)
  fence(self, "next(token)", token)
  local slot = self.last + 1
  if not self.begun or now() < self.begun + slot * self.seconds then
    return nil
  end
  return slot
end

--- Says that `who` has done a slot. Fails if it was done before, or if another leads.
function Cron.replicated:done(slot, token, who)
  fence(self, "done(slot, token, who)", token)
  if slot ~= self.last + 1 then
    error("cron:done(slot, token, who): slot " .. self.last + 1 .. " is next, not " .. tostring(slot), 0)
  end
  self.last = slot
  emit("ran", slot, who)
end
