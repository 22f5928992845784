local X = object "x"
function X.replicated:m(a)
  goto nowhere
end
