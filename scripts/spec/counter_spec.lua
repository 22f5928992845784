test("every increment counts once, whoever leads", function(t)
  for _ = 1, 5 do counter:inc() end
  t:kill(t:leader())
  for _ = 1, 5 do counter:inc() end
  t:equal(counter:get(), 10)
end)

test("a node that was away has the same value", function(t)
  local leader = t:leader()
  counter:set(3)
  t:kill(leader)
  counter:sub(1)
  t:restart(leader)
  t:equal(counter:add(5), 7)
  t:equal(counter.value, 7)
end)

test("clients that count at the same time lose nothing", function(t)
  local done = 0
  for i = 1, 4 do
    t:client("c" .. i):start(function()
      for _ = 1, 5 do counter:inc() end
      done = done + 1
    end)
  end
  t:eventually(function() return done == 4 end)
  t:equal(counter:get(), 20)
end)

test("what is no number changes nothing", function(t)
  counter:set(1)
  for _, bad in ipairs {"x", 0 / 0, {}} do
    t:fails("script", function() counter:inc(bad) end)
  end
  t:equal(counter:get(), 1)
end)
