// A user of the part for models and files: its JSON and its regular expressions, compiled and linked.
#include <linden/core/regular_expression.hpp>
#include <linden/io/json_file.hpp>
#include <linden/model/llama_config.hpp>

#ifdef PCRE2_CODE_UNIT_WIDTH
#error "linden keeps PCRE2_CODE_UNIT_WIDTH, which its users may want to define"
#endif

int main() {
  const nlohmann::json rank = {{"rank", linden::text(8)}};
  return linden::RegularExpression(R"(\p{N}+)").matches(rank.at("rank").get<std::string>()) ? 0 : 1;
}
