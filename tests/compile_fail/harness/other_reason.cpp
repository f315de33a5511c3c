// Refused, but not for the reason it quotes.
// expected: a square is round
#ifndef LINDEN_FIXED
static_assert(sizeof(char) == 2, "a character is one byte");
#endif
