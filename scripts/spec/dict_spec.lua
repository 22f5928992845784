test("updates are whole", function(t)
  dict:update({a = 1, b = 2})
  t:kill(t:leader())
  t:equal(dict:len(), 2)
  t:equal(dict:pop("a"), 1)
  t:falsy(dict:contains("a"))
end)

test("the first to set a default sets it", function(t)
  local won = {}
  for i = 1, 3 do
    t:client("c" .. i):start(function()
      local value = dict:setdefault("k", i)
      won[#won + 1] = value
    end)
  end
  t:eventually(function() return #won == 3 end)
  local value = dict:get("k")
  t:equal(won, {value, value, value})
end)

test("entries come in the order of their keys, by pages", function(t)
  dict:update({c = 3, a = 1, b = 2, [2] = "two", [true] = "yes"})
  t:equal(dict:keys(), {true, 2, "a", "b", "c"})
  t:equal(dict:keys(2, "a"), {"b", "c"})
  t:equal(dict:items(2), {{true, "yes"}, {2, "two"}})
  dict:clear()
  t:equal(dict:len(), 0)
end)

test("a call that fails leaves all as it was", function(t)
  dict:set("a", 1)
  t:fails(function() dict:update("no table") end)
  t:equal(dict:set("a", nil), 1)
  t:equal(dict:len(), 0)
end)
