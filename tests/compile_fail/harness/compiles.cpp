// Nothing is wrong here.
// expected: anything
int main() {}
