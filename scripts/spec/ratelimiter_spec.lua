test("no more than the burst, then as the rate says", function(t)
  ratelimiter:define("api", 0.1, 2)
  t:truthy(ratelimiter:allow("api", "k", 2))
  t:falsy(ratelimiter:allow("api", "k", 2))
  t:kill(t:leader())
  t:sleep(25)
  t:truthy(ratelimiter:allow("api", "k", 2))
end)

test("keys have buckets of their own", function(t)
  ratelimiter:define("api", 0.0001, 1)
  t:truthy(ratelimiter:allow("api", "a"))
  t:truthy(ratelimiter:allow("api", "b"))
  t:falsy(ratelimiter:allow("api", "a"))
  t:falsy(ratelimiter:remove("api"))
end)

test("several clients get no more together than one", function(t)
  ratelimiter:define("api", 0.0001, 5)
  local asked, allowed = 0, 0
  for i = 1, 4 do
    t:client("c" .. i):start(function()
      for _ = 1, 2 do
        if ratelimiter:allow("api", "k") then
          allowed = allowed + 1
        end
        asked = asked + 1
      end
    end)
  end
  t:eventually(function() return asked == 8 end)
  t:equal(allowed, 5)
end)

test("who waits gets its tokens in time", function(t)
  ratelimiter:define("api", 0.5, 1)
  t:truthy(ratelimiter:wait("api", "k"))
  t:truthy(ratelimiter:wait("api", "k", 1, 60))
  t:fails("script", function() ratelimiter:allow("none", "k") end)
end)
