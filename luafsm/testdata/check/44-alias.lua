local X = object "x"
function X.replicated:inc() self.n = 1 end
function X:show() end
function X.query:m()
  local s = self
  local again = s
  again:inc()
end
function X.query:p() local other = y other:set() end
function X.replicated:o() local s = self s:show() end
local Y = object "y"
function Y.replicated:set() self.n = 1 end
