local X = object "x
