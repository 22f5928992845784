local X = object "x"
function X.replicated:m(a)
  return coroutine.create(a)
end
