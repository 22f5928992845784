test("all go on when all have come", function(t)
  local generation = barrier:arrive("b", "p1", 2, 60)
  t:kill(t:leader())
  local same, outcome = barrier:arrive("b", "p2", 2, 60)
  t:equal(same, generation)
  t:equal(outcome, "open")
  t:equal(barrier:outcome(generation), "open")
end)

test("parties wait for each other", function(t)
  local gone_on = 0
  for i = 1, 3 do
    t:client("p" .. i):start(function()
      t:sleep(i)
      t:truthy(barrier:wait("b", "p" .. i, 3, 300))
      gone_on = gone_on + 1
    end)
  end
  t:eventually(function() return gone_on == 3 end)
  t:equal(barrier:status("b"), 0)
end)

test("it breaks when one stays away, and is ready to be used again", function(t)
  local generation = barrier:arrive("b", "p1", 2, 20)
  t:sleep(25)
  t:equal(barrier:outcome(generation), "broken")
  local again, outcome = barrier:arrive("b", "p2", 2, 60)
  t:truthy(again > generation)
  t:equal(outcome, "waiting")
end)

test("one that has died holds the others up no longer than the barrier's time", function(t)
  local dead, well = t:client("dead"), nil
  dead:start(function() barrier:wait("b", "dead", 3, 40) end)
  t:eventually(function() return barrier:status("b") == 1 end)
  dead:kill()
  t:client("p"):start(function() well = barrier:wait("b", "p", 3, 40) end)
  t:eventually(function() return well == false end)
end)
