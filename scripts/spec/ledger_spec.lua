test("money is neither made nor lost", function(t)
  ledger:open("a")
  ledger:open("b")
  ledger:deposit("a", 100, "d")
  t:cut(t:leader())
  ledger:transfer("a", "b", 30, "t")
  t:heal()
  ledger:transfer("a", "b", 30, "t")
  t:equal(ledger:balance("a"), 70)
  t:equal(ledger:balance("b"), 30)
  t:equal(ledger:sum(), 100)
  t:fails("script", function() ledger:transfer("a", "b", 71, "u") end)
  t:equal(ledger:balance("a"), 70)
end)

test("of many that pay at once none takes what is not there", function(t)
  ledger:open("a")
  ledger:open("b")
  ledger:deposit("a", 50, "d")
  local paid, refused = 0, 0
  for i = 1, 4 do
    t:client("c" .. i):start(function()
      for n = 1, 2 do
        if pcall(function() ledger:transfer("a", "b", 10, i .. "/" .. n) end) then
          paid = paid + 1
        else
          refused = refused + 1
        end
      end
    end)
  end
  t:eventually(function() return paid + refused == 8 end)
  t:equal(paid, 5)
  t:equal(ledger:balance("a"), 0)
  t:equal(ledger:balance("b"), 50)
end)

test("an account with money is not closed", function(t)
  ledger:open("a")
  ledger:deposit("a", 5, "d")
  t:fails("script", function() ledger:close("a") end)
  ledger:withdraw("a", 5, "w")
  t:truthy(ledger:close("a"))
  t:equal(ledger:balance("a"), nil)
end)
