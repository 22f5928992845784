test("a run is claimed once", function(t)
  scheduler:once("job", 20, "data")
  t:equal(scheduler:claim("job"), nil)
  t:kill(t:leader())
  t:sleep(22)
  local run, data = scheduler:claim("job")
  t:equal(run, 1)
  t:equal(data, "data")
  t:equal(scheduler:claim("job"), nil)
end)

test("it goes on after the leader is cut off", function(t)
  scheduler:set("tick", 10)
  t:cut(t:leader())
  t:sleep(60)
  t:heal()
  t:truthy(scheduler:claim("tick"))
  t:truthy(scheduler:get("tick").runs >= 3)
end)

test("of two workers one does each run, and the other one goes on alone", function(t)
  local runs = {}
  local a, b = t:client("a"), t:client("b")
  scheduler:set("tick", 30)
  for _, worker in ipairs {a, b} do
    worker:start(function()
      scheduler:run("tick", function(_, run) runs[run] = (runs[run] or 0) + 1 end)
    end)
  end
  t:eventually(function() return #runs >= 2 end, 120)
  a:kill()
  local before = #runs
  t:eventually(function() return #runs > before + 1 end, 120)
  for run, times in pairs(runs) do
    t:equal(times, 1, "run " .. run)
  end
end)

test("times as for cron", function(t)
  local due = scheduler:set("nightly", "30 3 * * *")
  t:equal(due % 86400, 3 * 3600 + 30 * 60)
  t:truthy(due > now() - 1 and due < now() + 86401)
  t:fails("script", function() scheduler:set("bad", "61 * * * *") end)
  t:equal(scheduler:names(), {"nightly"})
end)
