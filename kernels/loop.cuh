#pragma once
/// \file
/// Fused elementwise loops of a plan, a block per row: every root of the step is computed through everything that was inlined
/// into it, in registers.
/// Traffic  every tensor that is read or written once; arithmetic is float.
/// Limits   an operation's `element` must be constexpr to run here.

#include <linden/backend/binding.hpp>

#include "launch.cuh"

namespace linden::cuda {

/// Rows of a matrix as a loop reads or writes them; a single row is repeated, float is read whatever T is.
template <class T>
struct Lines {
  T* data = nullptr;             ///< the first element of the first row, or null
  float* wide = nullptr;         ///< set instead of data for what is float although T is narrower
  long stride = 0, columns = 0;  ///< elements from row to row, 0: one row again and again; elements of a row
  bool accumulate = false;       ///< results only: added to
};

/// Rows of an operand, as a loop takes them.
template <class T>
Lines<T> lines_of(const Operand<T>& x) {
  Lines<T> lines;
  lines.data = x.data;
  lines.wide = x.wide;
  lines.stride = x.rows == 1 ? 0 : x.stride;
  lines.columns = x.columns;
  lines.accumulate = x.accumulate;
  return lines;
}

/// What one root reads and writes.
template <class T, int Reads>
struct LoopLines {
  Lines<T> in[Reads > 0 ? Reads : 1];  ///< what is read
  Lines<T> out;                        ///< what is written
};

/// What a loop must know of node N, as numbers: device code cannot look into a plan.
template <class Code, int Root, int N>
struct LoopNode {
  static constexpr bool inlined = N == Root || Code::plan.locations[N].place == Place::inlined;  ///< computed in this loop
  /// A number in the expression.
  static constexpr bool constant = linden::detail::is_constant_node(Code::program.graph.nodes[N]);
  static constexpr float number = static_cast<float>(Code::program.graph.nodes[N].attributes[0]);  ///< which number
  /// Its place among what is read, or -1.
  static constexpr int read = inlined ? -1 : linden::detail::loop_reads<Code, Root>().number(N);
  static constexpr int arity = Code::program.graph.nodes[N].op->arity;
  static constexpr int first = Code::program.graph.nodes[N].inputs[0];   ///< number of its first input
  static constexpr int second = Code::program.graph.nodes[N].inputs[1];  ///< number of its second input
};

/// Node N of one element, from the values that its root reads.
template <class Code, int Root, int N, int Reads>
__device__ inline float loop_value(const float (&values)[Reads]) {
  using Here = LoopNode<Code, Root, N>;
  if constexpr (!Here::inlined)
    return values[Here::read];
  else if constexpr (Here::constant)
    return Here::number;
  else if constexpr (Here::arity == 1)
    return linden::detail::OperationAt<Code, N>::element(loop_value<Code, Root, Here::first>(values));
  else
    return linden::detail::OperationAt<Code, N>::element(loop_value<Code, Root, Here::first>(values),
                                                 loop_value<Code, Root, Here::second>(values));
}

/// Width values of one row from `column` on; of a single column, that one.
template <int Width, class T>
__device__ inline void read_lines(const Lines<T>& x, long row, long column, float (&values)[Width]) {
  const long at = row * x.stride + (x.columns == 1 ? 0 : column);
  if (x.wide != nullptr) {
    for (int e = 0; e < Width; ++e) values[e] = x.wide[x.columns == 1 ? at : at + e];
  } else if (x.columns == 1) {
    for (int e = 0; e < Width; ++e) values[e] = to_float(x.data[at]);
  } else {
    const auto pack = load<Width>(x.data + at);
    for (int e = 0; e < Width; ++e) values[e] = to_float(pack.at[e]);
  }
}

/// One root of a loop: a block computes a row, a thread Width neighbouring elements at a time.
template <int Width, class Code, int Root, class T, int Reads>
__global__ void loop_rows(LoopLines<T, Reads> lines) {
  const long row = blockIdx.x;
  for (long j = threadIdx.x * Width; j < lines.out.columns; j += blockDim.x * Width) {
    float in[Reads > 0 ? Reads : 1][Width];
    for (int k = 0; k < Reads; ++k) read_lines<Width>(lines.in[k], row, j, in[k]);
    Pack<T, Width> out;
    T* const to = lines.out.data + row * lines.out.stride + j;
    if (lines.out.accumulate) out = load<Width>(to);
    for (int e = 0; e < Width; ++e) {
      float values[Reads > 0 ? Reads : 1];
      for (int k = 0; k < Reads; ++k) values[k] = in[k][e];
      put(&out.at[e], loop_value<Code, Root, Root>(values), lines.out.accumulate);
    }
    store(to, out);
  }
}

/// One root. Roots of a step run one after the other, since a later one may read what an earlier one wrote.
template <class Code, int Root, class T>
void run_loop_root(const linden::detail::Operands<T>& operands, const Queue& queue) {
  constexpr auto reads = linden::detail::loop_reads<Code, Root>();
  constexpr int count = reads.count;
  LoopLines<T, count> lines;
  const Operand<T>& out = operands[Root];
  lines.out = lines_of(out);
  bool packs = fits_packs(out);
  for (int k = 0; k < count; ++k) {
    const Operand<T>& in = operands[static_cast<std::size_t>(reads.nodes[static_cast<std::size_t>(k)])];
    linden::detail::refuse_stored(in, Code::program.graph[reads.nodes[static_cast<std::size_t>(k)]], "an elementwise loop");
    lines.in[k] = lines_of(in);
    packs = packs && (in.columns == 1 || in.wide != nullptr || fits_packs(in));
  }
  if (out.columns == 0) return;
  if (packs)
    launch("a fused loop", Grid{out.rows}, threads_for(out.columns, pack_size<T>), queue.stream,
           &loop_rows<pack_size<T>, Code, Root, T, count>, lines);
  else
    launch("a fused loop", Grid{out.rows}, threads_for(out.columns, 1), queue.stream, &loop_rows<1, Code, Root, T, count>, lines);
}

template <class Code, int S, int R>
inline constexpr int loop_root = Code::plan.roots[static_cast<std::size_t>(Code::plan.steps[S].first + R)];  ///< root R of step S

/// Starts the loops of all roots of step S.
template <class Code, int S, class T, int... R>
void run_loop(const linden::detail::Operands<T>& operands, const Queue& queue, std::integer_sequence<int, R...>) {
  (run_loop_root<Code, loop_root<Code, S, R>>(operands, queue), ...);
}

/// to = or += from, element by element.
template <class T>
__global__ void copy_rows(Lines<T> from, Lines<T> to) {
  const long row = blockIdx.x;
  for (long j = threadIdx.x; j < to.columns; j += blockDim.x) {
    float value[1];
    read_lines<1>(from, row, j, value);
    if (to.wide != nullptr)
      put(to.wide + row * to.stride + j, value[0], to.accumulate);
    else
      put(to.data + row * to.stride + j, value[0], to.accumulate);
  }
}

/// to = from, or += where it accumulates, in stream order.
template <class T>
void copy_operand(const Operand<T>& from, const Operand<T>& to, const Queue& queue) {
  if (to.columns > 0) launch("copy_rows", Grid{to.rows}, threads_for(to.columns, 4), queue.stream, &copy_rows<T>, lines_of(from), lines_of(to));
}

}  // namespace linden::cuda
