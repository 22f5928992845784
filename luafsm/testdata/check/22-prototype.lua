object("hits", "nothing")
