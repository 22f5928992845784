-- Charges all customers for a month: syncsh run bill.lua MONTH. If it was killed,
-- run it again: the key of a charge is made of what it is for, so nobody pays twice.
local month, price = args[1], 5
if not month then
  print("usage: syncsh run bill.lua MONTH")
  exit(2)
end
for i = 1, 60 do
  local customer = string.format("c%02d", i)
  billing:charge(customer, price, month .. " " .. customer, month)
  if i % 10 == 0 then
    print(month .. ": " .. i .. " customers")
  end
  sleep(0.04)                                -- an invoice is printed
end
