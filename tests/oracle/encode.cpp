// Token ids and texts of linden::Tokenizer for the comparison programs of this folder.
//   encode --tokenizer PATH [--bos]    reads JSON lines, {"text": ...} or {"ids": [...]}; writes {"ids", "decoded"} for
//   each
#include <CLI/CLI.hpp>
#include <exception>
#include <filesystem>
#include <iostream>
#include <linden/data/tokenizer.hpp>
#include <nlohmann/json.hpp>
#include <string>

int main(int argc, char** argv) {
  std::filesystem::path path;
  bool bos = false;
  CLI::App app("Token ids and texts of linden::Tokenizer: JSON lines in, JSON lines out");
  app.add_option("--tokenizer", path, "tokenizer file or model folder")->required();
  app.add_flag("--bos", bos, "put the bos token in front");
  CLI11_PARSE(app, argc, argv);
  try {
    const auto tokenizer = linden::Tokenizer::load(path);
    for (std::string line; std::getline(std::cin, line);) {
      const auto request = nlohmann::json::parse(line);
      const auto ids = request.contains("ids") ? request.at("ids").get<std::vector<std::int32_t>>()
                                               : tokenizer.encode(request.at("text").get<std::string>(), bos);
      std::cout << nlohmann::json{{"ids", ids}, {"decoded", tokenizer.decode(ids)}}.dump() << '\n';
    }
  } catch (const std::exception& error) {
    std::cerr << "encode: " << error.what() << '\n';
    return 1;
  }
}
