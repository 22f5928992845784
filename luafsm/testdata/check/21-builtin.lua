local X = object "string"
