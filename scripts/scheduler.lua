--- A scheduler: named jobs that are due every so many seconds, at times written as for
--- cron, or once. The cluster keeps the time, so a job falls due whichever nodes are up,
--- and each time is claimed by one worker only. Times are UTC, by the log clock. What
--- falls due while nobody claims is one claim in the end; what would have fallen due
--- while the whole cluster was down is due once, and the others are left out.
---
--- `set` and each run cost O(log n). There are at most 10,000 jobs, each with one
--- replicated timer.
---
--- Events: `run` (name, number of the run, when it was due).
local Scheduler = object "scheduler"

local jobs_most = 10000
local days_most = 3000                       -- how far ahead a time is looked for: 29 February may be 8 years away

function Scheduler:init()
  self.jobs = {}                             -- name -> {spec, data, due, timer, runs, claimed, last}
  self.count = 0
end

local function fail(method, text)
  error("scheduler:" .. method .. ": " .. text, 0)
end

local function check_name(method, name)
  if type(name) ~= "string" or name == "" or #name > 256 then
    fail(method, "name must be a text of 1 to 256 bytes")
  end
end

local fields = {{"minute", 0, 59}, {"hour", 0, 23}, {"day of month", 1, 31}, {"month", 1, 12}, {"day of week", 0, 7}}

-- The numbers of a field such as 5, 1-5, */15, 8-18/2 or lists of those; nil if it is
-- none of these.
local function numbers(text, low, high)
  local out = {}
  for part in (text .. ","):gmatch("([^,]*),") do
    local range, step = part:match("^(.-)/(%d+)$")
    range, step = range or part, tonumber(step or 1)
    local from, to = range:match("^(%d+)%-(%d+)$")
    if range == "*" then
      from, to = low, high
    elseif not from then
      from = range:match("^%d+$")
      to = part == range and from or high
    end
    from, to = tonumber(from), tonumber(to)
    if not from or from < low or to > high or from > to or step < 1 or step > high then
      return nil
    end
    for n = from, to, step do
      out[n] = true
    end
  end
  return out
end

local function parse(method, spec)
  local out, i = {}, 0
  if type(spec) == "string" and #spec <= 256 then
    for text in spec:gmatch("%S+") do
      i = i + 1
      local f = fields[i]
      out[i] = f and numbers(text, f[2], f[3])
      if f and not out[i] then
        fail(method, "bad " .. f[1] .. " '" .. text .. "' in '" .. spec .. "'; from " .. f[2] .. " to " .. f[3])
      end
      out[-i] = text:sub(1, 1) == "*"        -- whether the field leaves it open
    end
  end
  if i ~= #fields then
    fail(method, "spec must be a number of seconds or five fields: minute, hour, day of month, month, day of week")
  end
  if out[5][7] then
    out[5][0] = true                         -- Sunday has two numbers
  end
  return out
end

-- Year, month and day of a count of days since 1970-01-01: Howard Hinnant's
-- civil_from_days.
local function civil(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - math.floor((153 * mp + 2) / 5) + 1
end

-- As cron has it: with both the day of the month and that of the week given, either
-- is enough.
local function day_fits(cron, day, weekday)
  if cron[-3] or cron[-5] then
    return cron[3][day] and cron[5][weekday]
  end
  return cron[3][day] or cron[5][weekday]
end

-- The first time after a time that fits, in seconds since 1970; nil if none does.
local function next_time(cron, time)
  local minute = math.floor(time / 60) + 1
  local first_day = math.floor(minute / 1440)
  for days = first_day, first_day + days_most do
    local _, month, day = civil(days)
    if cron[4][month] and day_fits(cron, day, (days + 4) % 7) then
      for m = days == first_day and minute - days * 1440 or 0, 1439 do
        if cron[2][math.floor(m / 60)] and cron[1][m % 60] then
          return (days * 1440 + m) * 60
        end
      end
    end
  end
end

-- When a job is due next, after a time.
local function next_due(job, time)
  if type(job.spec) == "number" then
    return job.due + job.spec * math.max(1, math.floor((time - job.due) / job.spec) + 1)
  elseif job.spec then
    return next_time(parse("fire", job.spec), time)
  end
end

local function arm(job, name)
  job.timer = job.due and after(math.max(0, job.due - now()), "fire", name, job.due)
end

local function put(self, method, name, job)
  local before = self.jobs[name]
  if before and before.timer then
    cancel(before.timer)
  elseif not before then
    if self.count >= jobs_most then
      fail(method, "there are " .. jobs_most .. " jobs already")
    end
    self.count = self.count + 1
  end
  job.runs = before and before.runs or 0
  job.claimed = job.runs
  arm(job, name)
  self.jobs[name] = job
  return job.due
end

--- Makes a job or replaces one of that name. `spec` is a number of seconds (1 or more)
--- or five fields as for cron, such as "*/15 8-18 * * 1-5". `data` is given to who does
--- the job. Returns when it is due first, in seconds since 1970.
function Scheduler.replicated:set(name, spec, data)
  local method = "set(name, spec, data)"
  check_name(method, name)
  local job = {spec = spec, data = copy(data)}
  if type(spec) == "number" then
    if not (spec >= 1 and spec <= 1e8) then
      fail(method, "spec must be at least 1 and at most 100000000 seconds")
    end
    job.due = now() + spec
  else
    job.due = next_time(parse(method, spec), now())
    if not job.due then
      fail(method, "'" .. spec .. "' is never due")
    end
  end
  return put(self, method, name, job)
end

--- Makes a job that is due once, in `seconds` from now, or replaces one of that name.
--- It is removed when it is claimed. Returns when it is due, in seconds since 1970.
function Scheduler.replicated:once(name, seconds, data)
  local method = "once(name, seconds, data)"
  check_name(method, name)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= 1e8) then
    fail(method, "seconds must be a number from 0 to 100000000")
  end
  return put(self, method, name, {due = now() + seconds, data = copy(data)})
end

--- Removes a job. Returns whether there was one.
function Scheduler.replicated:remove(name)
  local job = self.jobs[name]
  if not job then
    return false
  end
  if job.timer then
    cancel(job.timer)
  end
  self.jobs[name] = nil
  self.count = self.count - 1
  return true
end

--- Lets a job fall due. A replicated timer calls it.
function Scheduler.replicated:fire(name, due)
  local job = self.jobs[name]
  if not job or job.due ~= due or due > now() then
    return
  end
  cancel(job.timer)
  job.runs, job.last = job.runs + 1, due
  job.due = next_due(job, now())
  arm(job, name)
  emit("run", name, job.runs, due)
end

--- Claims a job that has fallen due: whoever gets an answer does it. Returns the number
--- of the run, its data and when it was due; nil if there is nothing to do.
function Scheduler.replicated:claim(name)
  local job = self.jobs[name]
  if not job or job.claimed >= job.runs then
    return nil
  end
  job.claimed = job.runs
  if not job.spec then
    self:remove(name)
  end
  return job.runs, job.data, job.last
end

--- Returns whether a job has fallen due that nobody has claimed.
function Scheduler.query:pending(name)
  local job = self.jobs[name]
  return job ~= nil and job.claimed < job.runs
end

--- Returns a job as a table with `spec`, `data`, `due`, `last` and `runs`; nil if there is none.
function Scheduler.query:get(name)
  local job = self.jobs[name]
  return job and {spec = job.spec, data = job.data, due = job.due, last = job.last, runs = job.runs}
end

--- Returns up to `limit` (default 1000) names of jobs in order, those after `after_name` if
--- it is given.
function Scheduler.query:names(limit, after_name)
  local out = {}
  local name = next(self.jobs, after_name)
  while name and #out < (limit or 1000) do
    out[#out + 1] = name
    name = next(self.jobs, name)
  end
  return out
end

--- Does a job in the background, from where it is called: calls work(data, run, due) each
--- time that it falls due and no other worker was faster. A worker that dies while it
--- works leaves that run undone; put what must not be lost into a queue. Returns a worker
--- with `runs`, how many it did, `problem`, the last error, and `worker:stop()`.
function Scheduler:run(name, work)
  local scheduler, worker, stopped, news = self, {runs = 0}, false, nil
  function worker:stop()
    stopped = true
    if news then
      news:stop()
    end
  end
  local function follow()
    while not stopped do
      news:wait()                            -- until it falls due
      local run, data, due
      if not stopped and scheduler:pending(name) then
        run, data, due = scheduler:claim(name)
      end
      if run then
        work(data, run, due)
        worker.runs = worker.runs + 1
      end
    end
  end
  after(0, function()
    while not stopped do
      local well, problem = pcall(function()
        news = watch({object = scheduler, path = {"jobs", name, "runs"}})
        follow()
      end)
      if news then
        news:stop()
      end
      if not well then
        worker.problem = problem
        sleep(0.5)
      end
    end
  end)
  return worker
end
