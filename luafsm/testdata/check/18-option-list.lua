local X = object("x", {2})
