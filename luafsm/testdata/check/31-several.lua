local X = object "x"
function X.replicated:m(a)
  a = os.time() count = foo b = 2
end
