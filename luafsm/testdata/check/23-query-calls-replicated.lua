local X = object "x"
function X.replicated:inc() self.n = 1 end
function X.query:m()
  return self:inc()
end
