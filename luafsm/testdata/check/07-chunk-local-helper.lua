local n = 0
local function up() n = n + 1 end
local X = object "x"
function X.replicated:m(a)
  up()
end
