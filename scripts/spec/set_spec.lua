test("a member is new once", function(t)
  t:truthy(set:add("x"))
  t:kill(t:leader())
  t:falsy(set:add("x"))
  t:equal(set:len(), 1)
end)

test("of clients that add the same member one is told that it is new", function(t)
  local new, done = 0, 0
  for i = 1, 3 do
    t:client("c" .. i):start(function()
      if set:add("x") then
        new = new + 1
      end
      done = done + 1
    end)
  end
  t:eventually(function() return done == 3 end)
  t:equal(new, 1)
end)

test("members come in order, and each is popped once", function(t)
  t:equal(set:update({"b", 1, "a", "b"}), 3)
  t:equal(set:members(), {1, "a", "b"})
  t:equal(set:pop(), 1)
  t:truthy(set:discard("a"))
  t:falsy(set:discard("a"))
  t:fails("script", function() set:remove("a") end)
  t:equal(set:members(), {"b"})
end)
