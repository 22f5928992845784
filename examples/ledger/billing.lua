--- Billing on top of the library's `ledger`: customers pay in and are charged, and
--- each has a statement. A charge, its line of the statement and the shop's income
--- are one call, so there is all of it or nothing. Every change has a key, a text
--- that the caller makes up once: the same key again changes nothing.
---
--- Changes are O(log n). A statement has the last 100 lines; how many customers and
--- keys there may be is up to the ledger.
local Billing = object "billing"

local shop, lines_most = "shop", 100

function Billing:init()
  self.statements = {}                       -- customer -> {from, to, lines}, lines from..to are kept
end

local function check_customer(method, customer)
  if type(customer) ~= "string" or customer == shop then
    error("billing:" .. method .. ": customer must be a text, and not " .. shop, 0)
  end
end

-- Adds a line to a statement and forgets the oldest when there are too many.
local function write(self, customer, text, amount, balance)
  local s = self.statements[customer]
  if not s then
    s = {from = 2, to = 1, lines = {}}       -- from 2: a table's key 1 starts its sequence
    self.statements[customer] = s
  end
  s.to = s.to + 1
  s.lines[s.to] = {text = text, amount = amount, balance = balance}
  if s.to - s.from >= lines_most then
    s.lines[s.from] = nil
    s.from = s.from + 1
  end
end

--- A customer pays `amount` in. Returns the customer's balance.
function Billing.replicated:pay(customer, amount, key)
  check_customer("pay(customer, amount, key)", customer)
  ledger:open(customer)
  local again = ledger:known(key)
  local balance = ledger:deposit(customer, amount, key)
  if not again then
    write(self, customer, "paid in", amount, balance)
  end
  return balance
end

--- Charges a customer `amount` for `text`. Returns the customer's balance; fails,
--- with nothing changed, if there is too little.
function Billing.replicated:charge(customer, amount, key, text)
  check_customer("charge(customer, amount, key, text)", customer)
  if type(text) ~= "string" or #text > 256 then
    error("billing:charge(customer, amount, key, text): text must be a text of at most 256 bytes", 0)
  end
  ledger:open(shop)
  local again = ledger:known(key)
  local balance = ledger:transfer(customer, shop, amount, key)
  if not again then
    write(self, customer, text, -amount, balance)
  end
  return balance
end

--- Returns the last `limit` (default 10) lines of a customer's statement, the oldest
--- first, as tables with `text`, `amount` and `balance`.
function Billing.query:statement(customer, limit)
  local out, s = {}, self.statements[customer]
  if s then
    for i = math.max(s.from, s.to - (limit or 10) + 1), s.to do
      out[#out + 1] = s.lines[i]
    end
  end
  return out
end

--- Returns what the shop has earned.
function Billing.query:income()
  return ledger:balance(shop) or 0
end
