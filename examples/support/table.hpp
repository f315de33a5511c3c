#pragma once
/// \file
/// Text tables for the terminal: a header, a rule, rows. A column of numbers lines up on the right, any other on the
/// left; an empty cell or "-" goes with either.
/// Errors  UsageError for a row with another number of cells than the header.
///
///     rank  accuracy
///     ----  --------
///        8    0.4125
///       16    0.4350

#include <algorithm>
#include <cstddef>
#include <iomanip>
#include <linden/core/error.hpp>  // UsageError, text
#include <locale>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden::examples {

/// `value` with `digits` digits after the point, whatever the locale: fixed(0.5, 3) -> "0.500".
[[nodiscard]] inline std::string fixed(double value, int digits) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

/// Rows of text in aligned columns, two spaces apart.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : columns_(header.size()) { rows_.push_back(std::move(header)); }

  /// Adds a row; a cell is whatever a stream prints: row(8, "LoRA", fixed(accuracy, 4)).
  template <class... Cells>
  Table& row(const Cells&... cells) {
    return add({text(cells)...});
  }

  /// Adds a row of cells made elsewhere.
  Table& add(std::vector<std::string> cells) {
    if (cells.size() != columns_) {
      throw UsageError(text("Table: a row of ", cells.size(), " cells under a header of ", columns_));
    }
    rows_.push_back(std::move(cells));
    return *this;
  }

  /// Every line ends without trailing spaces.
  friend std::ostream& operator<<(std::ostream& out, const Table& table) {
    const std::vector<Column> layout = table.layout();
    print(out, table.rows_.front(), layout);
    std::vector<std::string> rule;
    for (const Column& column : layout) rule.emplace_back(column.width, '-');
    print(out, rule, layout);
    for (std::size_t i = 1; i < table.rows_.size(); ++i) print(out, table.rows_[i], layout);
    return out;
  }

 private:
  struct Column {
    std::size_t width = 0;
    bool numbers = true;
  };

  /// Characters of UTF-8 text, counted as one column each.
  static std::size_t width(std::string_view cell) {
    return static_cast<std::size_t>(std::count_if(
        cell.begin(), cell.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
  }

  /// A number, perhaps signed, perhaps with a unit sign behind it: 12, -0.5, 1e-3, 42%, 1.8x.
  static bool reads_as_number(std::string_view cell) {
    if (cell.empty() || cell == "-" || cell == "nan" || cell == "inf" || cell == "-inf") return true;
    if (cell.back() == '%' || cell.back() == 'x') cell.remove_suffix(1);
    const bool digit = cell.find_first_of("0123456789") != std::string_view::npos;
    return digit && cell.find_first_not_of("0123456789+-.e") == std::string_view::npos;
  }

  [[nodiscard]] std::vector<Column> layout() const {
    std::vector<Column> columns(columns_);
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      for (std::size_t c = 0; c < columns_; ++c) {
        columns[c].width = std::max(columns[c].width, width(rows_[i][c]));
        if (i > 0) columns[c].numbers = columns[c].numbers && reads_as_number(rows_[i][c]);
      }
    }
    return columns;
  }

  static void print(std::ostream& out, const std::vector<std::string>& cells, const std::vector<Column>& layout) {
    std::string line;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const std::string space(layout[c].width - width(cells[c]), ' ');
      if (c > 0) line += "  ";
      line += layout[c].numbers ? space + cells[c] : cells[c] + space;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }

  std::size_t columns_;
  std::vector<std::vector<std::string>> rows_;  // the header first
};

}  // namespace linden::examples
