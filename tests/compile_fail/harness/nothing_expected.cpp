// Refused, with no reason quoted.
#ifndef LINDEN_FIXED
static_assert(sizeof(char) == 2, "a character is one byte");
#endif
