--- A ledger: accounts with whole amounts (of cents, say) that never fall below zero. A
--- transfer is one atomic call. Every change has a key, a text that the caller makes up
--- once: the same key again changes nothing and gives the answer of the first time, so a
--- payment that may or may not have gone through can be sent again.
---
--- Changes are O(log n). There are at most 1,000,000 accounts, and no more than
--- 9,007,199,254,740,992 in all of them; the last 100,000 keys are remembered.
---
--- Events: `deposit` (account, amount, key), `withdraw` (account, amount, key), `transfer`
--- (from, to, amount, key).
local Ledger = object "ledger"

local accounts_most, keys_most, text_most, total_most = 1000000, 100000, 256, 2 ^ 53

function Ledger:init()
  self.accounts = {}                         -- account -> balance
  self.count = 0
  self.total = 0                             -- of all balances
  self.keys = {}                             -- key -> what was done, and its answer
  self.order = {}                            -- number -> key
  self.keys_count = 0
  self.last = 1                              -- number of a key; from 2: a table's key 1 starts its sequence
end

local function check_text(method, what, v)
  if type(v) ~= "string" or v == "" or #v > text_most then
    error("ledger:" .. method .. ": " .. what .. " must be a text of 1 to " .. text_most .. " bytes", 0)
  end
end

local function check(method, amount, key)
  if type(amount) ~= "number" or amount % 1 ~= 0 or amount < 1 or amount > total_most then
    error("ledger:" .. method .. ": amount must be a whole number above 0", 0)
  end
  check_text(method, "key", key)
end

-- The entry of an account that has to exist.
local function balance_of(self, method, account)
  check_text(method, "account", account)
  local balance = self.accounts[account]
  if not balance then
    error("ledger:" .. method .. ": no account " .. account, 0)
  end
  return balance
end

local function take(self, method, account, amount)
  local balance = balance_of(self, method, account)
  if balance < amount then
    error("ledger:" .. method .. ": " .. account .. " has " .. balance .. ", not " .. amount, 0)
  end
  self.accounts[account] = balance - amount
  return balance - amount
end

-- What was done under a key; it has to be the same as what is asked for now.
local function done(self, method, key, what)
  local entry = self.keys[key]
  if entry and entry.what ~= what then
    error("ledger:" .. method .. ": key " .. key .. " was used for something else", 0)
  end
  return entry
end

local function remember(self, key, what, first, second)
  self.last = self.last + 1
  self.keys[key] = {what = what, first = first, second = second}
  self.order[self.last] = key
  self.keys_count = self.keys_count + 1
  if self.keys_count > keys_most then
    local oldest, old_key = next(self.order)
    self.order[oldest] = nil
    self.keys[old_key] = nil
    self.keys_count = keys_most
  end
end

local function describe(kind, amount, from, to)
  return string.format("%s %d %d %s %s", kind, amount, #from, from, to or "")
end

--- Opens an account with nothing in it. Returns false if it is there already.
function Ledger.replicated:open(account)
  check_text("open(account)", "account", account)
  if self.accounts[account] then
    return false
  end
  if self.count >= accounts_most then
    error("ledger:open(account): there are " .. accounts_most .. " accounts already", 0)
  end
  self.accounts[account] = 0
  self.count = self.count + 1
  return true
end

--- Closes an account, which must be empty. Returns false if there is none.
function Ledger.replicated:close(account)
  local balance = self.accounts[account]
  if not balance then
    return false
  end
  if balance ~= 0 then
    error("ledger:close(account): " .. account .. " still has " .. balance, 0)
  end
  self.accounts[account] = nil
  self.count = self.count - 1
  return true
end

--- Puts `amount` into an account, from outside. Returns its balance.
function Ledger.replicated:deposit(account, amount, key)
  local method = "deposit(account, amount, key)"
  check(method, amount, key)
  local balance = balance_of(self, method, account)
  local what = describe("deposit", amount, account)
  local before = done(self, method, key, what)
  if before then
    return before.first
  end
  if self.total + amount > total_most then
    error("ledger:" .. method .. ": a ledger holds at most " .. string.format("%d", total_most) .. " in all", 0)
  end
  self.total = self.total + amount
  self.accounts[account] = balance + amount
  remember(self, key, what, balance + amount)
  emit("deposit", account, amount, key)
  return balance + amount
end

--- Takes `amount` out of an account. Returns its balance; fails, with nothing changed, if
--- there is too little.
function Ledger.replicated:withdraw(account, amount, key)
  local method = "withdraw(account, amount, key)"
  check(method, amount, key)
  check_text(method, "account", account)
  local what = describe("withdraw", amount, account)
  local before = done(self, method, key, what)
  if before then
    return before.first
  end
  local balance = take(self, method, account, amount)
  self.total = self.total - amount
  remember(self, key, what, balance)
  emit("withdraw", account, amount, key)
  return balance
end

--- Moves `amount` from one account to another. Returns both balances; fails, with nothing
--- changed, if there is too little.
function Ledger.replicated:transfer(from, to, amount, key)
  local method = "transfer(from, to, amount, key)"
  check(method, amount, key)
  check_text(method, "from", from)
  check_text(method, "to", to)
  if from == to then
    error("ledger:" .. method .. ": from and to must be two accounts", 0)
  end
  local what = describe("transfer", amount, from, to)
  local before = done(self, method, key, what)
  if before then
    return before.first, before.second
  end
  local there = balance_of(self, method, to) + amount
  local here = take(self, method, from, amount)
  self.accounts[to] = there
  remember(self, key, what, here, there)
  emit("transfer", from, to, amount, key)
  return here, there
end

--- Returns the balance of an account, nil if there is none.
function Ledger.query:balance(account)
  return self.accounts[account]
end

--- Returns the sum of all balances, which is what was deposited less what was withdrawn,
--- and how many accounts there are. O(1).
function Ledger.query:sum()
  return self.total, self.count
end

--- Returns whether a key is remembered.
function Ledger.query:known(key)
  return self.keys[key] ~= nil
end

--- Returns up to `limit` (default 1000) accounts in order, as a list of {account, balance},
--- those after `after_account` if it is given. O(limit * log n).
function Ledger.query:list(limit, after_account)
  local out = {}
  local account, balance = next(self.accounts, after_account)
  while account and #out < (limit or 1000) do
    out[#out + 1] = {account, balance}
    account, balance = next(self.accounts, account)
  end
  return out
end
