local X = object "x"
function X.replicated:m(a)
  return foo(a)
end
