local X = object "x"
function X.replicated:m(a)
  break
end
