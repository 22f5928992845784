local X = object "x"
function X.replicated:m(a)
  return string.dump(a)
end
