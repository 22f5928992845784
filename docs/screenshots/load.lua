-- What the clients do in the picture of `syncsh top`.
local function nothing() end

every(0.005, function() counter.async:inc(1, nothing) end)
every(0.02, function() kv.async:set("player" .. math.random(50), {score = math.random(100)}, nothing) end)
every(0.05, function() return kv:get("player1"), counter.value end)
every(0.7, function() pcall(function() counter:inc("much") end) end)
every(1.1, function() lock:try_acquire("door", "me", 5) end)
