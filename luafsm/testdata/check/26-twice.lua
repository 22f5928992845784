local X = object "x"
function X.query:m() end
function X.query:m() end
