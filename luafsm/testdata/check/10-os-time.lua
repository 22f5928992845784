local X = object "x"
function X.replicated:m(a)
  return os.time()
end
