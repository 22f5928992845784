local X = object "x"
function X.replicated:m(a)
  io.write(a)
end
