test("readers share, a writer does not", function(t)
  t:truthy(rwlock:try_acquire("f", "a", "read", 600))
  t:truthy(rwlock:try_acquire("f", "b", "read", 600))
  t:equal(rwlock:try_acquire("f", "w", "write", 600), nil)
  t:kill(t:leader())
  rwlock:release("f", "a")
  rwlock:release("f", "b")
  t:truthy(rwlock:try_acquire("f", "w", "write", 600))
  t:equal(rwlock:try_acquire("f", "a", "read", 600), nil)
end)

test("a writer in line gets in when the readers have died", function(t)
  local reader = t:client("reader")
  reader:run(function() rwlock:hold("f", "a", "read", 30) end)
  rwlock:acquire("f", "w", "write", 600, 600)
  t:equal(rwlock:try_acquire("f", "b", "read", 60), nil)
  t:sleep(60)
  t:falsy(rwlock:is_held("f", "w"))
  reader:kill()
  t:eventually(function() return rwlock:is_held("f", "w") end)
end)

test("no reader sees half of what a writer does", function(t)
  local writing, bad, done = false, 0, 0
  for i = 1, 3 do
    t:client("c" .. i):start(function()
      local mode = i == 1 and "write" or "read"
      local handle = rwlock:hold("f", "c" .. i, mode, 30, nil, 600)
      if mode == "write" then
        writing = true
        sleep(1)
        writing = false
      elseif writing then
        bad = bad + 1
      end
      handle:release()
      done = done + 1
    end)
  end
  t:eventually(function() return done == 3 end, 600)
  t:equal(bad, 0)
end)
