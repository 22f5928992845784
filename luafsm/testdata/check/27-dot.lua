local X = object "x"
function X.replicated.m(a) return a end
