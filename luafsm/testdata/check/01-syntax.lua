local X = object "x"
function X:m( end
