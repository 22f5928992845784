function helper() end
local X = object "x"
