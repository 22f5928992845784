local X = object "x"
function X.replicated:run() end
local function tell(n) emit("n", n) end
function X.query:a() emit("a") end
function X.query:b() return after(1, "run") end
function X.query:c(id) if id then return cancel(id) end end
function X.query:d() local f = function() emit("d") end f() tell(1) end
