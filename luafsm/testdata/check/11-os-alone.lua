local X = object "x"
function X.replicated:m(a)
  local o = os return o
end
