local X = object "x"
function X:init() self.n = 0 end
function X.replicated:inc() self.n = self.n + 1 end
function X.replicated:twice() X:inc() X.replicated:inc() end
function X.query:get() return X.query:get() end
