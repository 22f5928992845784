local A = object("a", {version = "2"})
local B = object("b", {version = 0})
local C = object("c", {version = 1.5})
