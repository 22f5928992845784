local X = object "x"
function X.replicated:m(a)
  count = 1
end
