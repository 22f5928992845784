local X = object "x"
function X:init() self.n, self.t, self.list = 0, {}, {} end
object("y", "x")
function X.query:m(k)
  self.n = self.n + 1
  self.t.a, self[k] = 1, 2
  local t = self.t
  t.b[k] = 3
  for _, v in ipairs(self.list) do v.seen = true end
  y.n = 4
  function self.f() end
  local function set() self.late = 5 end
  set()
end
