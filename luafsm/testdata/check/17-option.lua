local X = object("x", {versoin = 2})
