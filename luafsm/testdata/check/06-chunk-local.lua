local n = 0
local X = object "x"
function X.replicated:m(a)
  n = n + 1
end
