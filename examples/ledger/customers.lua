-- Sixty customers that pay 7 in: syncsh run customers.lua
for i = 1, 60 do
  local customer = string.format("c%02d", i)
  billing:pay(customer, 7, "first payment of " .. customer)
end
print("60 customers")
