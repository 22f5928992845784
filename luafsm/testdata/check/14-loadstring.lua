local X = object "x"
function X.replicated:m(a)
  return loadstring(a)
end
