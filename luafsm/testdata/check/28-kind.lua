local X = object "x"
function X.replicate:m(a) return a end
