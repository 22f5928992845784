local X = object "x"
object("y", "x")
function X:init() self.inc = 0 end
function X.replicated:inc() self.get = 1 end
function X.query:get() return self.n end
function X.replicated:other() local s = self s.inc, y.get = 1, 2 function self:get() end end
