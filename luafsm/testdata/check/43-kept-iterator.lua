local A = object "a"
local it = ("a b"):gmatch("%a")
local nxt, tb = pairs({1, 2})
function A.replicated:run()
  self.w = it()
  self.k = nxt(tb)
end
