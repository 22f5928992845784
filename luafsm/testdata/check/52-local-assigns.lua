local X = object "x"
function X:init() self.n = 0 end
function X:set(v) self.n = v self.t.a = v end
function X:other(v) local s = self s.n = v end
