local function f() return os.time() end
local X = object "x"
function X:m() return f() end
function X.query:q() return f() end
