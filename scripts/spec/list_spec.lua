test("the order is the same after a change of leader", function(t)
  list:extend({3, 1, 2})
  t:cut(t:leader())
  list:append(0)
  t:heal()
  list:sort()
  t:equal(list:values(), {0, 1, 2, 3})
end)

test("each value is appended once and taken once", function(t)
  local done, taken = 0, {}
  for i = 1, 3 do
    t:client("c" .. i):start(function()
      for n = 1, 3 do list:append(i * 10 + n) end
      for _ = 1, 3 do
        local value = list:pop()
        taken[#taken + 1] = value
      end
      done = done + 1
    end)
  end
  t:eventually(function() return done == 3 end)
  table.sort(taken)
  t:equal(taken, {11, 12, 13, 21, 22, 23, 31, 32, 33})
  t:equal(list:len(), 0)
end)

test("positions count from either end", function(t)
  list:reset({"a", "b", "c"})
  list:insert(2, "x")
  list:set(-1, "z")
  t:equal(list:values(), {"a", "x", "b", "z"})
  t:equal(list:remove("x"), 2)
  t:equal(list:index("z"), 3)
  t:equal(list:get(9), nil)
  t:fails(function() list:insert(9, "y") end)
  t:equal(list:len(), 3)
end)
