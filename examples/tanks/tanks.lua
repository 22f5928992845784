--- Tanks of an event that game servers of several regions play together. No tank
--- is destroyed twice and none below zero; who destroyed the last one is known to
--- all. Every call is O(1), `sums` O(regions).
---
--- Events: `tanks_gone` (region, player, how many there were) when none is left.
local Tanks = object "tanks"

local tanks_most, regions_most = 1000000, 100

function Tanks:init()
  self.begun, self.left = 0, 0
  self.count = {}                            -- region -> how many it has destroyed
  self.regions = 0
end

local function check_text(what, v)
  if type(v) ~= "string" or v == "" or #v > 64 then
    error("tanks:destroy(region, player): " .. what .. " must be a text of 1 to 64 bytes", 0)
  end
end

--- Begins an event with `n` tanks. Fails while one goes on.
function Tanks.replicated:begin(n)
  if type(n) ~= "number" or n % 1 ~= 0 or n < 1 or n > tanks_most then
    error("tanks:begin(n): n must be a whole number from 1 to " .. tanks_most, 0)
  end
  if self.left > 0 then
    error("tanks:begin(n): an event goes on, with " .. self.left .. " tanks left", 0)
  end
  self.begun, self.left, self.last = n, n, nil
  self.count, self.regions = {}, 0
end

--- Destroys a tank. Returns how many are left; nil if there was none to destroy.
function Tanks.replicated:destroy(region, player)
  check_text("region", region)
  check_text("player", player)
  if self.left == 0 then
    return nil
  end
  if not self.count[region] then
    if self.regions >= regions_most then
      error("tanks:destroy(region, player): there are " .. regions_most .. " regions already", 0)
    end
    self.regions = self.regions + 1
  end
  self.left = self.left - 1
  self.count[region] = (self.count[region] or 0) + 1
  if self.left == 0 then
    self.last = {region = region, player = player}
    emit("tanks_gone", region, player, self.begun)
  end
  return self.left
end

--- Returns how many tanks a region has destroyed.
function Tanks.query:of(region)
  return self.count[region] or 0
end

--- Returns how many tanks there were, how many are left, and how many the regions
--- have destroyed together.
function Tanks.query:sums()
  local sum = 0
  for _, n in pairs(self.count) do
    sum = sum + n
  end
  return self.begun, self.left, sum
end

--- Returns the region and the player that destroyed the last tank; nil before.
function Tanks.query:who_was_last()
  if self.last then
    return self.last.region, self.last.player
  end
  return nil
end
