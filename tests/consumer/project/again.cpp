// Every public header a second time, and nothing else: the compiler is told to include them.
