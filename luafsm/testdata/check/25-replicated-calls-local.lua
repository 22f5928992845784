local X = object "x"
function X:hold() end
function X.replicated:m()
  self:hold()
end
