--- A leaderboard: players with scores, the highest first, those of equal scores in the
--- order of their names and with the same rank.
---
--- A change is O(log n), now and then with 256 entries moved; `top` is O(limit * log n);
--- `rank` counts blocks of some 64 to 512 players instead of players, so it costs about
--- n / 64 + 512 steps at most. There are at most 1,000,000 players.
---
--- Events: `leader` (player, score) when another player is first.
local Leaderboard = object "leaderboard"

local players_most = 1000000
local block_most, block_least = 512, 128     -- players of a block; fewer are joined with the next
local last_block = "~"                       -- after all keys of players

function Leaderboard:init()
  self.scores = {}                           -- player -> score
  self.count = 0
  -- Players sorted, in blocks: the last key of a block -> {count, at = {key -> player}}.
  self.blocks = {[last_block] = {count = 0, at = {}}}
end

local function check_player(method, player)
  if type(player) ~= "string" or player == "" or #player > 256 then
    error("leaderboard:" .. method .. ": player must be a text of 1 to 256 bytes", 0)
  end
end

local function check_score(method, what, score)
  if type(score) ~= "number" or not (math.abs(score) < math.huge) then
    error("leaderboard:" .. method .. ": " .. what .. " must be a finite number", 0)
  end
end

-- A score as a text that sorts with the highest first: sign, exponent, mantissa, all
-- of the same length.
local function sortable(score)
  if score == 0 then
    return "1" .. ("0"):rep(20)
  end
  local mantissa, exponent = math.frexp(math.abs(score))
  mantissa = mantissa * 2 ^ 53
  if score > 0 then
    return string.format("0%04d%016d", 7999 - exponent, 2 ^ 53 - mantissa)
  end
  return string.format("2%04d%016d", exponent + 2000, mantissa)
end

-- The block that a key is in, or would be in, and its last key.
local function block_of(self, key)
  local last = self.blocks[key] and key or next(self.blocks, key)
  return self.blocks[last], last
end

-- Moves up to n entries, the first ones, from a block to another. Returns the last key.
local function move(from, to, n)
  local last
  for key, player in pairs(from.at) do
    if n == 0 then
      break
    end
    last, n = key, n - 1
    from.at[key], to.at[key] = nil, player
    from.count, to.count = from.count - 1, to.count + 1
  end
  return last
end

local function include(self, player, score)
  local key = sortable(score) .. player
  local block = block_of(self, key)
  block.at[key] = player
  block.count = block.count + 1
  if block.count > block_most then
    local half = {count = 0, at = {}}
    self.blocks[move(block, half, block_most / 2)] = half
  end
end

local function exclude(self, player, score)
  local key = sortable(score) .. player
  local block, last = block_of(self, key)
  block.at[key] = nil
  block.count = block.count - 1
  if last == last_block or block.count >= block_least then
    return
  end
  local _, following = next(self.blocks, last)
  if block.count + following.count <= block_most / 2 then
    move(block, following, block.count)
    self.blocks[last] = nil
  end
end

-- The player that is first.
local function first(self)
  for _, block in pairs(self.blocks) do
    local _, player = next(block.at)
    if player then
      return player
    end
  end
end

local function store(self, method, player, score)
  local before, leader = self.scores[player], first(self)
  if before == nil and self.count >= players_most then
    error("leaderboard:" .. method .. ": there are " .. players_most .. " players already", 0)
  end
  if before ~= nil then
    exclude(self, player, before)
  else
    self.count = self.count + 1
  end
  self.scores[player] = score
  include(self, player, score)
  local now_first = first(self)
  if now_first ~= leader then
    emit("leader", now_first, self.scores[now_first])
  end
end

--- Sets the score of a player and returns the one before, nil for a new one.
function Leaderboard.replicated:set(player, score)
  check_player("set(player, score)", player)
  check_score("set(player, score)", "score", score)
  local before = self.scores[player]
  store(self, "set(player, score)", player, score)
  return before
end

--- Adds `points` to the score of a player, 0 for a new one, and returns it.
function Leaderboard.replicated:add(player, points)
  check_player("add(player, points)", player)
  check_score("add(player, points)", "points", points)
  local score = (self.scores[player] or 0) + points
  check_score("add(player, points)", "the score", score)
  store(self, "add(player, points)", player, score)
  return score
end

--- Sets the score of a player if it is higher than the present one. Returns the score that
--- the player has then.
function Leaderboard.replicated:best(player, score)
  check_player("best(player, score)", player)
  check_score("best(player, score)", "score", score)
  local before = self.scores[player]
  if before and before >= score then
    return before
  end
  store(self, "best(player, score)", player, score)
  return score
end

--- Removes a player and returns the score, nil if there was none.
function Leaderboard.replicated:remove(player)
  check_player("remove(player)", player)
  local before, leader = self.scores[player], first(self)
  if before == nil then
    return nil
  end
  exclude(self, player, before)
  self.scores[player] = nil
  self.count = self.count - 1
  if leader == player and self.count > 0 then
    local now_first = first(self)
    emit("leader", now_first, self.scores[now_first])
  end
  return before
end

--- Returns the score of a player, nil if there is none.
function Leaderboard.query:score(player)
  return self.scores[player]
end

--- Returns the rank of a player, one more than how many have a higher score, and the
--- score; nil if there is no such player.
function Leaderboard.query:rank(player)
  local score = self.scores[player]
  if not score then
    return nil
  end
  local key, better = sortable(score), 0
  for last, block in pairs(self.blocks) do
    if last < key then
      better = better + block.count
    else
      for k in pairs(block.at) do
        if k >= key then
          break
        end
        better = better + 1
      end
      return better + 1, score
    end
  end
end

--- Returns the first `limit` players (default 10) as a list of {player, score}; those that
--- come after `after_player` if it is given.
function Leaderboard.query:top(limit, after_player)
  limit = limit or 10
  local out, key, last, block = {}, nil, nil, nil
  if after_player ~= nil then
    local score = self.scores[after_player]
    if not score then
      error("leaderboard:top(limit, after_player): no player " .. tostring(after_player), 0)
    end
    key = sortable(score) .. after_player
    block, last = block_of(self, key)
  else
    last, block = next(self.blocks)
  end
  while block and #out < limit do
    local player
    key, player = next(block.at, key)
    if player then
      out[#out + 1] = {player, self.scores[player]}
    else
      last, block = next(self.blocks, last)
    end
  end
  return out
end

--- Returns how many players there are. O(1).
function Leaderboard.query:len()
  return self.count
end
