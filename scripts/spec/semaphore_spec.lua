test("never more than its permits", function(t)
  semaphore:configure("s", 2)
  t:truthy(semaphore:try_acquire("s", "a", 600))
  t:truthy(semaphore:try_acquire("s", "b", 30))
  t:cut(t:leader())
  t:equal(semaphore:acquire("s", "c", 600, 600), nil)
  t:heal()
  t:sleep(32)
  t:truthy(semaphore:is_held("s", "c"))
  local _, held = semaphore:status("s")
  t:equal(held, 2)
end)

test("a permit of one that has died goes to the next in line", function(t)
  semaphore:configure("s", 1)
  local ann = t:client("ann")
  local first = ann:run(function() return semaphore:hold("s", "ann", 30) end)
  t:sleep(60)
  t:truthy(semaphore:is_held("s", "ann"))
  ann:kill()
  local bob = semaphore:hold("s", "bob", 30, nil, 120)
  t:truthy(bob.token > first.token)
end)

test("of many that work so many do at a time", function(t)
  semaphore:configure("s", 2)
  local inside, most, done = 0, 0, 0
  for i = 1, 4 do
    t:client("c" .. i):start(function()
      local handle = semaphore:hold("s", "c" .. i, 30, nil, 600)
      inside = inside + 1
      most = math.max(most, inside)
      sleep(1)
      inside = inside - 1
      handle:release()
      done = done + 1
    end)
  end
  t:eventually(function() return done == 4 end, 600)
  t:truthy(most <= 2, most .. " at once")
end)
