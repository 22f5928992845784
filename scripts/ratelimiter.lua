--- A rate limiter: token buckets that fill by the log clock. A rule has a name, a rate of
--- tokens a second and a burst, the size of its buckets; each key has a bucket of its
--- own, full at first.
---
--- `allow` is O(log n). There are at most 1,000 rules and 100,000 buckets that are not
--- full; a full one takes no room. A bucket in use has one replicated timer.
local RateLimiter = object "ratelimiter"

local rules_most, buckets_most = 1000, 100000

function RateLimiter:init()
  self.rules = {}                            -- name -> {rate, burst}
  self.rules_count = 0
  self.buckets = {}                          -- rule -> key -> {tokens, at, timer}
  self.count = 0                             -- of all buckets
end

local function check(method, what, v)
  if type(v) ~= "string" or v == "" or #v > 256 then
    error("ratelimiter:" .. method .. ": " .. what .. " must be a text of 1 to 256 bytes", 0)
  end
end

local function check_number(method, what, n, low, high)
  if type(n) ~= "number" or not (n >= low and n <= high) then
    error("ratelimiter:" .. method .. ": " .. what .. " must be a number from " .. low .. " to " .. high, 0)
  end
end

local function rule_of(self, method, name)
  local rule = self.rules[name]
  if not rule then
    error("ratelimiter:" .. method .. ": no rule " .. tostring(name) .. "; call ratelimiter:define(name, rate, burst)", 0)
  end
  return rule
end

-- How many tokens a bucket has now.
local function tokens(rule, bucket)
  if not bucket then
    return rule.burst
  end
  return math.min(rule.burst, bucket.tokens + (now() - bucket.at) * rule.rate)
end

local function drop(self, name, key)
  local buckets = self.buckets[name]
  cancel(buckets[key].timer)
  buckets[key] = nil
  self.count = self.count - 1
  if not next(buckets) then
    self.buckets[name] = nil
  end
end

--- Makes a rule, or changes one: `rate` tokens a second (0.0001 to 1,000,000), buckets
--- of `burst` tokens (1 to 1,000,000; default: those of a second, 1 at least). Buckets
--- that are there keep their tokens.
function RateLimiter.replicated:define(name, rate, burst)
  check("define(name, rate, burst)", "name", name)
  check_number("define(name, rate, burst)", "rate", rate, 0.0001, 1000000)
  burst = burst or math.max(1, rate)
  check_number("define(name, rate, burst)", "burst", burst, 1, 1000000)
  if not self.rules[name] then
    if self.rules_count >= rules_most then
      error("ratelimiter:define(name, rate, burst): there are " .. rules_most .. " rules already", 0)
    end
    self.rules_count = self.rules_count + 1
  end
  self.rules[name] = {rate = rate, burst = burst}
end

--- Removes a rule. It has to have no buckets any more: those of keys that nobody asks
--- for are full after burst / rate seconds, and gone. Returns whether it was removed.
function RateLimiter.replicated:remove(name)
  if not self.rules[name] or self.buckets[name] then
    return false
  end
  self.rules[name] = nil
  self.rules_count = self.rules_count - 1
  return true
end

--- Takes `n` tokens (default 1) from the bucket of `key`. Returns true and how many are
--- left; or false, with nothing taken, and in how many seconds there will be enough.
function RateLimiter.replicated:allow(name, key, n)
  check("allow(name, key, n)", "key", key)
  local rule = rule_of(self, "allow(name, key, n)", name)
  n = n or 1
  check_number("allow(name, key, n)", "n", n, 0, rule.burst)
  local bucket = self.buckets[name] and self.buckets[name][key]
  local have = tokens(rule, bucket)
  if have < n then
    return false, (n - have) / rule.rate
  end
  if not bucket then
    if n == 0 then
      return true, have
    end
    if self.count >= buckets_most then
      error("ratelimiter:allow(name, key, n): there are " .. buckets_most .. " buckets already", 0)
    end
    bucket = {timer = after(n / rule.rate, "refill", name, key)}
    self.buckets[name] = self.buckets[name] or {}
    self.buckets[name][key] = bucket
    self.count = self.count + 1
  end
  bucket.tokens, bucket.at = have - n, now()
  return true, bucket.tokens
end

--- Drops a bucket that is full again. A replicated timer calls it.
function RateLimiter.replicated:refill(name, key)
  local bucket = self.buckets[name] and self.buckets[name][key]
  if not bucket then
    return
  end
  local rule = self.rules[name]
  local missing = rule.burst - tokens(rule, bucket)
  if missing <= 1e-9 then
    drop(self, name, key)
  else                                       -- more were taken meanwhile
    cancel(bucket.timer)
    bucket.timer = after(missing / rule.rate, "refill", name, key)
  end
end

--- Returns how many tokens the bucket of `key` has now, and the rule's rate and burst.
function RateLimiter.query:left(name, key)
  local rule = rule_of(self, "left(name, key)", name)
  return tokens(rule, self.buckets[name] and self.buckets[name][key]), rule.rate, rule.burst
end

--- Takes `n` tokens (default 1) as soon as there are enough, waiting for `timeout`
--- seconds (default: for ever) at most. Returns whether it got them.
function RateLimiter:wait(name, key, n, timeout)
  local deadline = now() + (timeout or math.huge)
  while true do
    local allowed, seconds = self:allow(name, key, n)
    if allowed then
      return true
    end
    local left = deadline - now()
    if left < seconds then
      sleep(math.max(0, left))
      return false
    end
    sleep(math.max(seconds, 0.001))
  end
end
