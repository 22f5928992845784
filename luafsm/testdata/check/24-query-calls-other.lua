local Y = object "y"
function Y.replicated:inc() self.n = 1 end
local X = object "x"
function X.query:m(a)
  return y:inc()
end
