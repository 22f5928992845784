-- A game server: syncsh run server.lua REGION. Its players destroy tanks until none
-- is left in any region. It keeps a count of its own, to compare it in the end.
local region = args[1]
if not region then
  print("usage: syncsh run server.lua REGION")
  exit(2)
end

local mine = 0
while tanks:destroy(region, region .. math.random(9)) do
  mine = mine + 1
  if mine % 20 == 0 then
    print(region .. " has destroyed " .. mine)
  end
  sleep(0.01)                                -- until a player hits again
end
if mine == tanks:of(region) then
  print(region .. ": the cluster counted what this server did")
else
  print(region .. ": this server did " .. mine .. ", the cluster counted " .. tanks:of(region))
  exit(1)
end
