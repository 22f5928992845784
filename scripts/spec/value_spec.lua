test("a write with an old version is refused, also by the next leader", function(t)
  value:set("a")
  local _, version = value:get()
  t:truthy(value:set_version(version, "b"))
  t:kill(t:leader())
  t:equal(value:set_version(version, "c"), nil)
  t:equal(value:get(), "b")
end)

test("clients that compare and set lose no change", function(t)
  value:set({n = 0})
  local done = 0
  for i = 1, 3 do
    t:client("c" .. i):start(function()
      for _ = 1, 3 do
        repeat
          local old, version = value:get()
        until value:set_version(version, {n = old.n + 1})
      end
      done = done + 1
    end)
  end
  t:eventually(function() return done == 3 end)
  t:equal(value:get(), {n = 9})
end)

test("a swap needs the value that is there", function(t)
  t:truthy(value:swap(nil, "a"))
  local swapped, present = value:swap("x", "b")
  t:falsy(swapped)
  t:equal(present, "a")
end)
