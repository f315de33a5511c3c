// A user of the parts that read and write files.
#include <linden/core/error.hpp>
#include <nlohmann/json.hpp>

int main() { return nlohmann::json::parse(linden::text("{\"rank\": ", 8, "}")).at("rank") == 8 ? 0 : 1; }
