--- A queue of jobs: first in, first out. `get` removes a job at once. `reserve`
--- hands it out for a time: unless it is acknowledged with `ack` by then, its worker
--- is taken for dead and the job goes back to where it was. A job that was handed
--- out too often becomes a dead letter. So every job is done at least once, as
--- long as it is not among the dead letters.
---
--- Bounds, changed by `configure`: `capacity` jobs, waiting and handed out (10,000),
--- `tries` before a job is a dead letter (5), `dead` letters that are kept, of the
--- last jobs (1,000). Changes are O(log n).
---
--- Events: `ready` when a job waits in a queue where none did; `dead` (id, tries).
local Queue = object "queue"

local capacity_most, tries_most, dead_most, seconds_most = 100000, 1000, 100000, 86400

function Queue:init()
  self.options = {capacity = 10000, tries = 5, dead = 1000}
  self.ready = {}                            -- key -> job that waits, the next one first
  self.ready_count = 0
  self.taken = {}                            -- receipt -> job that is handed out, with due and timer
  self.count = 0                             -- of ready and taken
  self.dead = {}                             -- id -> job
  self.dead_count = 0
  self.last_id = 1                           -- the first id is 2: a table's key 1 starts its sequence
  self.last_receipt = 1
end

-- Where a job waits: in the order of ids.
local function key_of(job)
  return job.id
end

local function check_whole(method, what, n, low, high)
  if type(n) ~= "number" or n % 1 ~= 0 or n < low or n > high then
    error("queue:" .. method .. ": " .. what .. " must be a whole number from " .. low .. " to " .. high, 0)
  end
end

local function check_seconds(method, seconds, low)
  if type(seconds) ~= "number" or not (seconds >= low and seconds <= seconds_most) then
    error("queue:" .. method .. ": seconds must be a number from " .. low .. " to " .. seconds_most, 0)
  end
end

-- Lets a job wait.
local function line_up(self, job)
  self.ready[key_of(job)] = job
  self.ready_count = self.ready_count + 1
  if self.ready_count == 1 then
    emit("ready")
  end
end

-- Takes the next job out of those that wait.
local function first(self)
  local key, job = next(self.ready)
  if job then
    self.ready[key] = nil
    self.ready_count = self.ready_count - 1
  end
  return job
end

-- Keeps a job under a new receipt for a time.
local function hand_out(self, job, seconds)
  local receipt = self.last_receipt + 1
  self.last_receipt = receipt
  job.due = now() + seconds
  job.timer = after(seconds, "expire", receipt)
  self.taken[receipt] = job
  return receipt
end

-- Ends what hand_out began.
local function take_back(self, receipt)
  local job = self.taken[receipt]
  cancel(job.timer)
  self.taken[receipt] = nil
  job.due, job.timer = nil, nil
  return job
end

local function bury(self, job)
  self.count = self.count - 1
  self.dead[job.id] = job
  self.dead_count = self.dead_count + 1
  emit("dead", job.id, job.tries)
  while self.dead_count > self.options.dead do
    self.dead[next(self.dead)] = nil
    self.dead_count = self.dead_count - 1
  end
end

local function again(self, job)
  if job.tries >= self.options.tries then
    bury(self, job)
  else
    line_up(self, job)
  end
end

--- Changes some of the bounds, such as {capacity = 100, tries = 3, dead = 10}, and
--- returns all. Jobs that are there stay, also beyond a lower capacity.
function Queue.replicated:configure(options)
  if type(options) ~= "table" then
    error("queue:configure(options): options must be a table, such as {capacity = 100}", 0)
  end
  local most = {capacity = capacity_most, tries = tries_most, dead = dead_most}
  local least = {capacity = 1, tries = 1, dead = 0}
  for name, n in pairs(options) do
    if not most[name] then
      error("queue:configure(options): no option " .. tostring(name) .. "; there are capacity, tries and dead", 0)
    end
    check_whole("configure(options)", name, n, least[name], most[name])
    self.options[name] = n
  end
  return self.options
end

--- Puts a job, any value but nil, at the end. Returns its id, nil if the queue is full.
function Queue.replicated:put(value)
  if value == nil then
    error("queue:put(value): value must not be nil", 0)
  end
  if self.count >= self.options.capacity then
    return nil
  end
  self.last_id = self.last_id + 1
  self.count = self.count + 1
  line_up(self, {id = self.last_id, value = copy(value), tries = 0})
  return self.last_id
end

--- Removes the next job for good and returns its value; `default` if none waits.
function Queue.replicated:get(default)
  local job = first(self)
  if not job then
    return default
  end
  self.count = self.count - 1
  return job.value
end

--- Hands out the next job for `seconds` (default 30). Returns a table with `value`,
--- `id`, `tries` (1 for the first time) and `receipt`, a number that grows with each
--- hand-out and so is a fencing token too; nil if none waits.
function Queue.replicated:reserve(seconds)
  seconds = seconds or 30
  check_seconds("reserve(seconds)", seconds, 0.001)
  local job = first(self)
  if not job then
    return nil
  end
  job.tries = job.tries + 1
  local receipt = hand_out(self, job, seconds)
  return {value = copy(job.value), id = job.id, tries = job.tries, receipt = receipt}
end

--- Acknowledges a job: it is done and removed. Returns false if the receipt is not
--- valid any more, because its time was over.
function Queue.replicated:ack(receipt)
  if not self.taken[receipt] then
    return false
  end
  take_back(self, receipt)
  self.count = self.count - 1
  return true
end

--- Gives a job back, to be handed out again after `delay` seconds (default 0), or
--- to become a dead letter after its last try. Returns false if the receipt is not
--- valid any more.
function Queue.replicated:fail(receipt, delay)
  delay = delay or 0
  check_seconds("fail(receipt, delay)", delay, 0)
  if not self.taken[receipt] then
    return false
  end
  local job = take_back(self, receipt)
  if delay > 0 and job.tries < self.options.tries then
    hand_out(self, job, delay)               -- to nobody
  else
    again(self, job)
  end
  return true
end

--- Gives a worker `seconds` more from now (default 30). Returns false if the
--- receipt is not valid any more.
function Queue.replicated:extend(receipt, seconds)
  seconds = seconds or 30
  check_seconds("extend(receipt, seconds)", seconds, 0.001)
  local job = self.taken[receipt]
  if not job then
    return false
  end
  cancel(job.timer)
  job.due = now() + seconds
  job.timer = after(seconds, "expire", receipt)
  return true
end

--- Takes back a job whose time is over. A replicated timer calls it.
function Queue.replicated:expire(receipt)
  local job = self.taken[receipt]
  if job and job.due <= now() then
    again(self, take_back(self, receipt))
  end
end

--- Puts a dead letter back to the end, with all its tries. Returns its new id, nil
--- if there is no such letter or the queue is full.
function Queue.replicated:revive(id)
  local job = self.dead[id]
  if not job or self.count >= self.options.capacity then
    return nil
  end
  self.dead[id] = nil
  self.dead_count = self.dead_count - 1
  self.last_id = self.last_id + 1
  self.count = self.count + 1
  job.id, job.tries = self.last_id, 0
  line_up(self, job)
  return job.id
end

--- Forgets a dead letter. Returns whether there was one of that id.
function Queue.replicated:forget(id)
  if not self.dead[id] then
    return false
  end
  self.dead[id] = nil
  self.dead_count = self.dead_count - 1
  return true
end

--- Returns up to `limit` (default 100) dead letters as a list of tables with `id`,
--- `value` and `tries`, the oldest first, those after the id `after_id` if it is
--- given. O(limit * log n).
function Queue.query:dead_letters(limit, after_id)
  local out = {}
  local id, job = next(self.dead, after_id)
  while id and #out < (limit or 100) do
    out[#out + 1] = job
    id, job = next(self.dead, id)
  end
  return out
end

--- Returns the value that is next, and its id; nil if none waits.
function Queue.query:peek()
  local _, job = next(self.ready)
  if job then
    return job.value, job.id
  end
  return nil
end

--- Returns how many jobs wait, how many are handed out, and how many are dead
--- letters. O(1).
function Queue.query:qsize()
  return self.ready_count, self.count - self.ready_count, self.dead_count
end

--- Returns whether no job waits. O(1).
function Queue.query:empty()
  return self.ready_count == 0
end

--- Returns whether `put` has no room. O(1).
function Queue.query:full()
  return self.count >= self.options.capacity
end

-- with_news calls f with a watch on how many jobs are ready.
local function with_news(queue, f)
  local news = watch({object = queue, path = {"ready_count"}})
  local well, result = pcall(f, news)
  news:stop()
  if not well then
    error(result, 0)
  end
  return result
end

-- try reserves a job if one is ready; looking costs no write.
local function try(queue, seconds)
  local job = not queue:empty() and queue:reserve(seconds)
  if not job then
    return nil
  end
  function job:ack() return queue:ack(self.receipt) end
  function job:fail(delay) return queue:fail(self.receipt, delay) end
  function job:extend(more) return queue:extend(self.receipt, more or seconds) end
  return job
end

-- take waits for a job until the deadline, or until the watch is stopped.
local function take(queue, news, deadline, seconds)
  while true do
    local job = news.value ~= 0 and try(queue, seconds)
    if job then
      return job
    end
    local left = deadline - now()
    if left <= 0 or news.stopped then
      return nil
    end
    news:wait(left)
  end
end

--- Waits for a job, at most `timeout` seconds (default: for ever), and reserves it
--- for `seconds` (default 30). Returns what `reserve` does, with the methods
--- `job:ack()`, `job:fail(delay)` and `job:extend(seconds)`; nil after the timeout.
--- While it waits it watches how many jobs are ready, and asks for nothing.
function Queue:take(timeout, seconds)
  local deadline = now() + (timeout or math.huge)
  return try(self, seconds) or with_news(self, function(news)
    return take(self, news, deadline, seconds)
  end)
end

--- Works in the background: takes job after job and calls work(value, job). When
--- that returns the job is acknowledged, when it raises the job fails and is handed
--- out again after `delay` seconds (default 1). While it runs the job's time, `seconds`
--- (default 30), is extended three times per `seconds`. Returns a worker with `done`
--- and `failed`, how many, `problem`, the last error, and `worker:stop()`, which
--- lets the present job end.
function Queue:run(work, seconds, delay)
  seconds = seconds or 30
  local queue, worker = self, {done = 0, failed = 0, stopped = false}
  local watching
  function worker:stop()
    self.stopped = true
    if watching then
      watching:stop()
    end
  end
  local function one(job)
    local beat = every(seconds / 3, function() pcall(job.extend, job, seconds) end)
    local well, problem = pcall(work, job.value, job)
    beat:stop()
    if well and job:ack() then
      worker.done = worker.done + 1
    else
      worker.problem, worker.failed = problem or "its time was over", worker.failed + 1
      job:fail(delay or 1)
    end
  end
  local function work_on(news)
    watching = news
    while not worker.stopped do
      local job = take(queue, news, now() + 1, seconds)
      if job then
        one(job)
      end
    end
  end
  after(0, function()
    while not worker.stopped do
      local answered, problem = pcall(with_news, queue, work_on)
      if not answered then                   -- no leader, say: what was not acknowledged comes back
        worker.problem = problem
        sleep(0.5)
      end
    end
  end)
  return worker
end
