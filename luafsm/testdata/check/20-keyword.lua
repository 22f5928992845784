local X = object "while"
