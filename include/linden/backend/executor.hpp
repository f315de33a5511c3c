#pragma once
/// \file
/// Runs plans on the CPU: the steps in order, a kernel each, or a fused loop each. After the first call with the largest sizes
/// nothing is allocated.
/// Errors  as backend/binding.hpp

#include <linden/backend/binding.hpp>
#include <linden/core/scratch.hpp>

namespace linden {

/// The scratch memory plans run in; grows to the largest plan it has seen and can be shared by all of them.
template <class T>
using Workspace = AlignedBuffer<T>;

namespace detail {

/// result = or += operand, element by element.
template <class T>
void copy_operand(const Operand<T>& from, const Operand<T>& to) {
  parallel_for(to.rows, to.columns, [&](long first, long last) {
    for (long i = first; i < last; ++i)
      for (long j = 0; j < to.columns; ++j) to.row(i)[j] = to.accumulate ? to.row(i)[j] + from.row(i)[j] : from.row(i)[j];
  });
}

/// What a fused loop reads of one operand in one row: the row, and its first element for operands of one column.
template <class T>
struct RowRead {
  const T* row;
  T first;
};

/// One element of every root of a loop, computed one after the other through everything that was inlined into them. A root
/// reads those before it here: what they share (an e^x, say) is computed once.
template <class Code, class T, int... Roots>
struct LoopElement {
  static constexpr LoopReads reads = loop_reads<Code, Roots...>();
  using Reads = std::array<RowRead<T>, static_cast<std::size_t>(reads.count)>;

  const Reads& in;
  long column;
  std::array<T, sizeof...(Roots)> values{};

  template <int Root>
  static constexpr std::size_t place = [] {
    std::size_t k = 0;
    (void)((Root == Roots || (++k, false)) || ...);
    return k;
  }();

  template <int Root>
  [[gnu::always_inline]] void compute() {
    values[place<Root>] = apply<Root, Root>();
  }
  template <int Root, int N>
  [[gnu::always_inline]] T node() const {
    if constexpr (Code::plan.locations[static_cast<std::size_t>(N)].place == Place::inlined) {
      return apply<Root, N>();
    } else if constexpr (((N == Roots) || ...)) {
      return values[place<N>];
    } else {
      const RowRead<T>& read = in[static_cast<std::size_t>(reads.number(N))];
      return Code::program.graph[N].columns == 1 && Code::program.graph[Root].columns != 1 ? read.first : read.row[column];
    }
  }
  template <int Root, int N>
  [[gnu::always_inline]] T apply() const {
    constexpr const Node& n = Code::program.graph[N];
    if constexpr (is_constant_node(n))
      return static_cast<T>(n.attributes[0]);
    else if constexpr (n.op->arity == 1)
      return OperationAt<Code, N>::element(node<Root, n.inputs[0]>());
    else
      return OperationAt<Code, N>::element(node<Root, n.inputs[0]>(), node<Root, n.inputs[1]>());
  }
};

/// One row of several roots. Adds: some of them are added to what is there.
template <bool Adds, class Code, int... Roots, class T>
void loop_row(const Operands<T>& operands, long row, std::integer_sequence<int, Roots...>) {
  using Element = LoopElement<Code, T, Roots...>;
  typename Element::Reads in;
  for (std::size_t k = 0; k < in.size(); ++k) {
    const Operand<T>& operand = operands[static_cast<std::size_t>(Element::reads.nodes[k])];
    in[k].row = operand.data + (operand.rows == 1 ? 0 : row * operand.stride);
    in[k].first = *in[k].row;
  }
  const std::array out{&operands[static_cast<std::size_t>(Roots)]...};
  const std::array to{operands[static_cast<std::size_t>(Roots)].row(row)...};
  const long columns = out[0]->columns;
  LINDEN_INDEPENDENT
  for (long j = 0; j < columns; ++j) {
    Element element{in, j};
    (element.template compute<Roots>(), ...);
    for (std::size_t k = 0; k < to.size(); ++k)
      to[k][j] = Adds && out[k]->accumulate ? to[k][j] + element.values[k] : element.values[k];
  }
}

/// Where a loop that starts with the plan's root number `first` ends: it takes in the next root while that reads what is at hand,
/// as long as the rows in use have room beside each other in a first-level cache of eight ways.
template <class Code>
constexpr int loop_end(int first, int last) {
  NodeSet used{};
  int rows = 0;
  for (int r = first; r < last; ++r) {
    const int root = Code::plan.roots[static_cast<std::size_t>(r)];
    bool shares = r == first;
    for_each_read(Code::program.graph, Code::plan.locations, root, [&](int node) {
      bool& known = used[static_cast<std::size_t>(node)];
      shares = shares || known;
      rows += known ? 0 : 1;
      known = true;
    });
    used[static_cast<std::size_t>(root)] = true;
    ++rows;
    if (r > first && (!shares || rows > 8)) return r;
  }
  return last;
}

/// One row of the plan's roots number First to Last.
template <class Code, int First, int Last, class T>
void loop_rows(const Operands<T>& operands, long row) {
  constexpr int end = loop_end<Code>(First, Last);
  [&]<int... R>(std::integer_sequence<int, R...>) {
    constexpr std::integer_sequence<int, Code::plan.roots[static_cast<std::size_t>(First + R)]...> roots;
    constexpr auto is_result = [](int root) { return Code::plan.locations[static_cast<std::size_t>(root)].place == Place::result; };
    if constexpr ((is_result(Code::plan.roots[static_cast<std::size_t>(First + R)]) || ...))  // others are never added to
      if ((operands[static_cast<std::size_t>(Code::plan.roots[static_cast<std::size_t>(First + R)])].accumulate || ...))
        return loop_row<true, Code>(operands, row, roots);
    loop_row<false, Code>(operands, row, roots);
  }(std::make_integer_sequence<int, end - First>{});
  if constexpr (end < Last) loop_rows<Code, end, Last>(operands, row);
}

template <class T>
void refuse_stored_reads(const Graph& graph, const Plan& plan, const Step& step, const Operands<T>& operands) {
  for (int r = step.first; r < step.first + step.count; ++r)
    for_each_read(graph, plan.locations, plan.roots[static_cast<std::size_t>(r)], [&](int node) {
      refuse_stored(operands[static_cast<std::size_t>(node)], graph[node], "an elementwise loop");
    });
}

/// All roots of a loop step, row by row.
template <class Code, int S, class T>
void run_loop(const Operands<T>& operands) {
  static constexpr const Step& step = Code::plan.steps[static_cast<std::size_t>(S)];
  refuse_stored_reads(Code::program.graph, Code::plan, step, operands);
  const Operand<T>& shape = operands[static_cast<std::size_t>(step.node)];
  if (shape.columns == 0) return;
  parallel_for(shape.rows, 4 * step.count * shape.columns, [&](long first, long last) {
    for (long row = first; row < last; ++row) loop_rows<Code, step.first, step.first + step.count>(operands, row);
  });
}

template <class Code, int S, class T>
void run_step(const Binding<T>& binding, const Operands<T>& operands) {
  constexpr const Step& step = Code::plan.steps[static_cast<std::size_t>(S)];
  if constexpr (step.kind == Step::Kind::loop)
    run_loop<Code, S>(operands);
  else if constexpr (step.kind == Step::Kind::kernel)
    OperationOf<Code, S>::cpu(make_call(Code::program, step.node, step.node, false, operands));
  else if constexpr (step.kind == Step::Kind::accumulate)
    OperationOf<Code, S>::cpu(make_call(Code::program, step.summand, step.node, true, operands));
  else
    copy_operand(operands[static_cast<std::size_t>(step.node)], binding.results[static_cast<std::size_t>(step.result)]);
}

/// Runs a plan on bound tensors. `saved` is the saved buffer (null if the plan has none).
template <class Code, class T>
void run_plan(const Binding<T>& binding, const Pools& saved_pools, T* saved, Workspace<T>& workspace) {
  workspace.reserve(static_cast<std::size_t>(Code::plan.workspace.elements(binding.sizes)));
  Operands<T> operands;
  find_operands(Code::program, Code::plan, saved_pools, binding, saved, workspace.data(), operands);
  [&]<int... S>(std::integer_sequence<int, S...>) {
    (run_step<Code, S>(binding, operands), ...);
  }(std::make_integer_sequence<int, Code::plan.step_count>{});
}

}  // namespace detail

namespace detail {

/// Record mode: members own their memory; used for what a function returns.
template <class T>
struct Owned {
  template <class S>
  using tensor = Tensor<T, S>;
};

/// A result with the sizes of the call.
template <class T, class S>
Tensor<T, S> make_result(const Sizes& sizes, const Expr<S>*) {
  return Tensor<T, S>::sized(sizes.of(S::row_count), sizes.of(S::column_count));
}
template <class T, class... R>
auto make_result(const Sizes& sizes, const std::tuple<R...>*) {
  return std::tuple{make_result<T>(sizes, static_cast<const R*>(nullptr))...};
}
template <class T, template <class> class Record>
Record<Owned<T>> make_result(const Sizes& sizes, const Record<Symbolic>*) {
  Record<Symbolic> traced{};
  auto make = [&]<class... M>(const std::tuple<M&...>&) {
    return Record<Owned<T>>{make_result<T>(sizes, static_cast<const std::remove_reference_t<M>*>(nullptr))...};
  };
  return make(members(traced));
}

}  // namespace detail

template <class F, class... Tensors>
auto evaluate(const Tensors&... tensors) {
  using T = decltype(detail::element_type_of<Tensors...>());
  detail::Binding<T> binding;
  detail::bind_arguments<arguments_of<F>>(binding, tensors...);
  auto results = detail::make_result<T>(binding.sizes, static_cast<const result_of<F>*>(nullptr));
  detail::bind_result<result_of<F>>(binding, results);
  thread_local Workspace<T> workspace;
  detail::run_plan<detail::WholeCode<F>>(binding, Pools{}, static_cast<T*>(nullptr), workspace);
  return results;
}

}  // namespace linden
