local X = object "x"
function X.replicated:m(a)
  return string.trim(a)
end
