local A = object "a"
local t0 = now()
local r = random(6)
function A.query:get() return t0, r end
