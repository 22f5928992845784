local X = object "x"
function X.replicated:m(a)
  local Z = object "z"
end
