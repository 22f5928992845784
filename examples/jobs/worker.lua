-- A worker: syncsh run worker.lua NAME SECONDS, which is how long a job takes it.
-- A job that is called "broken" fails each time.
local name, seconds = args[1], tonumber(args[2])
if not seconds then
  print("usage: syncsh run worker.lua NAME SECONDS")
  exit(2)
end
-- A job is this worker's for 3 seconds, prolonged while it works: if it dies, the
-- job is another's at the latest 3 seconds later. A failed one comes back after 0.1.
queue:run(function(what, job)
  print(name .. " begins " .. what .. ", try " .. job.tries)
  if what == "broken" then
    error("no such printer")
  end
  sleep(seconds)
  print(name .. " has done " .. what)
end, 3, 0.1)
