test("the job of a worker that died is handed out again", function(t)
  local worker, first = t:client("worker"), nil
  queue:put("job")
  worker:start(function()
    queue:run(function(_, job)
      first = job
      sleep(3600)
    end, 30)
  end)
  t:eventually(function() return first end)
  t:sleep(100)
  t:truthy(queue:empty(), "a worker that lives keeps its job")
  worker:kill()
  local second = queue:take(120, 60)
  t:equal(second.value, "job")
  t:equal(second.tries, 2)
  t:truthy(second.receipt > first.receipt)
  t:falsy(queue:ack(first.receipt))
  t:truthy(second:ack())
end)

test("its time goes on while leaders change", function(t)
  queue:put("job")
  queue:reserve(20)
  t:kill(t:leader())
  t:sleep(22)
  t:equal(queue:reserve(20).tries, 2)
end)

test("a job that fails too often is a dead letter", function(t)
  queue:configure({tries = 2})
  queue:put("poison")
  for _ = 1, 2 do queue:fail(queue:reserve(600).receipt) end
  t:equal(queue:reserve(), nil)
  t:equal(queue:dead_letters()[1].value, "poison")
end)

test("each job is done once by workers that live", function(t)
  local done = {}
  for i = 1, 6 do queue:put(i) end
  for i = 1, 2 do
    t:client("w" .. i):start(function()
      while true do
        local job = queue:take(1, 600)
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

test("first in, first out, up to its capacity", function(t)
  queue:configure({capacity = 2})
  queue:put("a")
  queue:put("b")
  t:equal(queue:put("c"), nil)
  t:truthy(queue:full())
  t:equal(queue:get(), "a")
  t:equal(queue:get(), "b")
  t:equal(queue:get("none"), "none")
end)
