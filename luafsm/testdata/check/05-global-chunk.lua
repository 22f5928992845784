count = 0
local X = object "x"
