test("the job of a worker that died is handed out again", function(t)
  local worker, first = t:client("worker"), nil
  pqueue:put("job")
  worker:start(function()
    pqueue:run(function(_, job)
      first = job
      sleep(3600)
    end, 30)
  end)
  t:eventually(function() return first end)
  t:sleep(100)
  t:truthy(pqueue:empty(), "a worker that lives keeps its job")
  worker:kill()
  local second = pqueue:take(120, 60)
  t:equal(second.value, "job")
  t:equal(second.tries, 2)
  t:truthy(second.receipt > first.receipt)
  t:falsy(pqueue:ack(first.receipt))
  t:truthy(second:ack())
end)

test("its time goes on while leaders change", function(t)
  pqueue:put("job")
  pqueue:reserve(20)
  t:kill(t:leader())
  t:sleep(22)
  t:equal(pqueue:reserve(20).tries, 2)
end)

test("a job that fails too often is a dead letter", function(t)
  pqueue:configure({tries = 2})
  pqueue:put("poison")
  for _ = 1, 2 do pqueue:fail(pqueue:reserve(600).receipt) end
  t:equal(pqueue:reserve(), nil)
  t:equal(pqueue:dead_letters()[1].value, "poison")
end)

test("each job is done once by workers that live", function(t)
  local done = {}
  for i = 1, 6 do pqueue:put(i) end
  for i = 1, 2 do
    t:client("w" .. i):start(function()
      while true do
        local job = pqueue:take(1, 600)
        if job and job:ack() then
          done[#done + 1] = job.value
        end
      end
    end)
  end
  t:eventually(function() return #done == 6 end)
  table.sort(done)
  t:equal(done, {1, 2, 3, 4, 5, 6})
end)

test("what comes back comes back to its place", function(t)
  pqueue:put("low", 5)
  pqueue:put("high", 1)
  t:equal(pqueue:reserve(20).value, "high")
  t:sleep(22)
  t:equal(pqueue:get(), "high")
  t:equal(pqueue:get(), "low")
end)
