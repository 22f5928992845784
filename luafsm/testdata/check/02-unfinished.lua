local X = object "x"
function X.query:m()
