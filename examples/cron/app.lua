-- One of several equal programs, of which one does the cron job at a time:
-- syncsh run app.lua NAME SLOTS SECONDS. It ends when so many slots are done; a
-- run takes it so many seconds.
local name, slots, seconds = args[1], tonumber(args[2]), tonumber(args[3])
if not seconds then
  print("usage: syncsh run app.lua NAME SLOTS SECONDS")
  exit(2)
end

local campaign = election:campaign("cron", name, 3)
print(name .. " stands for election")
while cron.last < slots do
  local token = campaign.token
  local well, problem = pcall(function()
    local slot = token and cron:next(token)
    if slot then
      print(name .. " begins slot " .. slot)
      sleep(seconds)
      cron:done(slot, token, name)
    end
  end)
  if not well then
    print(name .. ": " .. tostring(problem))
  end
  sleep(0.05)
end
campaign:resign()
