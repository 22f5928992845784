local o = {version = 2}
local C = object("c", o)
local B = object("b", 5)
local N = object()
