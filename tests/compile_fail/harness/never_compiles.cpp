// The repair repairs nothing: the error it quotes comes from elsewhere.
// expected: a character is one byte
static_assert(sizeof(char) == 2, "a character is one byte");
