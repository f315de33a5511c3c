// The library alone: what every file that uses linden pays.
#include <linden/linden.hpp>

int main() {}
