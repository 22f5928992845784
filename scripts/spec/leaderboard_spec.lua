test("the order is the same after a change of leader", function(t)
  for i = 1, 20 do leaderboard:set("p" .. i, i % 7) end
  t:kill(t:leader())
  leaderboard:add("p1", 100)
  t:equal(leaderboard:rank("p1"), 1)
  t:equal(leaderboard:rank("p6"), 2)
  t:equal(leaderboard:rank("p13"), 2)
  t:equal(leaderboard:top(3), {{"p1", 101}, {"p13", 6}, {"p20", 6}})
end)

test("only a better score counts", function(t)
  t:equal(leaderboard:best("ann", 10), 10)
  t:equal(leaderboard:best("ann", 5), 10)
  t:equal(leaderboard:best("ann", 11), 11)
  t:equal(leaderboard:remove("ann"), 11)
  t:equal(leaderboard:len(), 0)
  t:equal(leaderboard:rank("ann"), nil)
end)

test("points that come from several clients all count", function(t)
  local done = 0
  for i = 1, 3 do
    t:client("c" .. i):start(function()
      for _ = 1, 4 do leaderboard:add("ann", 2) end
      done = done + 1
    end)
  end
  t:eventually(function() return done == 3 end)
  t:equal(leaderboard:score("ann"), 24)
end)
