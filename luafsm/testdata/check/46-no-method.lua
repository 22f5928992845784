local X = object "x"
object("y", "x")
function X:init() self.n = 0 self:start() end
function X.replicated:inc() self.n = self.n + 1 return self:get() end
function X.query:got() return x:nosuch(), y:inc2() end
local function f() return y:none() end
function X.replicated:via() local s = self f() s:gone() end
function X:here() self:nowhere() end
