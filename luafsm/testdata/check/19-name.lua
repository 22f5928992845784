local X = object "two words"
