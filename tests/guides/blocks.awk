# The blocks of one language of a guide, in their order: awk -v language=cpp -f blocks.awk GUIDE.md
# What is not code becomes empty lines, so that a compiler names the lines of the guide.
/^```/ { inside = $0 == "```" language; if (language != "text") print ""; next }
inside || language != "text" { print inside ? $0 : "" }
