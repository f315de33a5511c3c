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

/// Element `column` of node N, computed through everything that was inlined into it.
template <class Code, int Root, int N, class T, std::size_t Count>
[[gnu::always_inline]] inline T loop_element(const std::array<RowRead<T>, Count>& reads, long column) {
  constexpr const Node& n = Code::program.graph[N];
  constexpr bool inlined = N == Root || Code::plan.locations[static_cast<std::size_t>(N)].place == Place::inlined;
  if constexpr (!inlined) {
    constexpr auto k = static_cast<std::size_t>(loop_read_number<Code, Root, N>());
    if constexpr (n.columns == 1 && Code::program.graph[Root].columns != 1)
      return reads[k].first;
    else
      return reads[k].row[column];
  } else if constexpr (is_constant_node(n)) {
    return static_cast<T>(n.attributes[0]);
  } else if constexpr (n.op->arity == 1) {
    return OperationAt<Code, N>::element(loop_element<Code, Root, n.inputs[0]>(reads, column));
  } else {
    return OperationAt<Code, N>::element(loop_element<Code, Root, n.inputs[0]>(reads, column),
                                    loop_element<Code, Root, n.inputs[1]>(reads, column));
  }
}

/// One row of one root.
template <class Code, int Root, class T>
void loop_row(const Operands<T>& operands, long row) {
  static constexpr auto reads = loop_reads<Code, Root>();
  constexpr auto count = static_cast<std::size_t>(reads.count);
  std::array<RowRead<T>, count> in;
  for (std::size_t k = 0; k < count; ++k) {
    const Operand<T>& operand = operands[static_cast<std::size_t>(reads.nodes[k])];
    in[k].row = operand.data + (operand.rows == 1 ? 0 : row * operand.stride);
    in[k].first = *in[k].row;
  }
  const Operand<T>& out = operands[static_cast<std::size_t>(Root)];
  T* const to = out.row(row);
  const long columns = out.columns;
  if constexpr (Code::plan.locations[static_cast<std::size_t>(Root)].place == Place::result)  // others are never added to
    if (out.accumulate) {
      LINDEN_INDEPENDENT
      for (long j = 0; j < columns; ++j) to[j] += loop_element<Code, Root, Root>(in, j);
      return;
    }
  LINDEN_INDEPENDENT
  for (long j = 0; j < columns; ++j) to[j] = loop_element<Code, Root, Root>(in, j);
}

/// All roots of a loop step, row by row.
template <class Code, int S, class T>
void run_loop(const Operands<T>& operands) {
  static constexpr const Step& step = Code::plan.steps[static_cast<std::size_t>(S)];
  [&]<int... R>(std::integer_sequence<int, R...>) {
    const auto check = [&](const auto& reads) {
      for (int k = 0; k < reads.count; ++k) {
        const int node = reads.nodes[static_cast<std::size_t>(k)];
        refuse_stored(operands[static_cast<std::size_t>(node)], Code::program.graph[node], "an elementwise loop");
      }
    };
    (check(loop_reads<Code, Code::plan.roots[static_cast<std::size_t>(step.first + R)]>()), ...);
  }(std::make_integer_sequence<int, step.count>{});
  const Operand<T>& shape = operands[static_cast<std::size_t>(step.node)];
  if (shape.columns == 0) return;
  parallel_for(shape.rows, 4 * step.count * shape.columns, [&](long first, long last) {
    [&]<int... R>(std::integer_sequence<int, R...>) {
      for (long row = first; row < last; ++row)
        (loop_row<Code, Code::plan.roots[static_cast<std::size_t>(step.first + R)]>(operands, row), ...);
    }(std::make_integer_sequence<int, step.count>{});
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
