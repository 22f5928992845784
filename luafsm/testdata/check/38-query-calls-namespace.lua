local A = object "a"
function A.replicated:inc() self.n = 1 end
function A.query:get()
  A.replicated.inc(self)
  return self.n
end
