local A = object "a"
function A.replicated:inc() self.n = 1 end
function A:loc() end
local function deep() return a:inc() end
local function bump() deep() a:loc() end
function A.query:get() bump() return self.n end
function A:free() bump() end
