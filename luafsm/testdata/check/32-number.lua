local X = object "x"
function X.replicated:m(a)
  return 1e
end
