#pragma once
/// \file
/// What every backend does before it runs a plan: binds the tensors of a call (sizes are checked once, here), finds every
/// buffer, and makes the call of each kernel.
/// Errors  ShapeError naming the tensor, the axis, what was bound and what was expected.

#include <array>
#include <linden/core/stored_view.hpp>
#include <linden/graph/plan.hpp>
#include <linden/graph/pullback.hpp>
#include <type_traits>

namespace linden {

/// Marks an output that is added to instead of overwritten (gradients over micro-batches).
template <class Record>
struct Accumulate {
  Record record;  ///< views of what is added to
};
/// Accumulate{views}.
template <class Record>
Accumulate(Record) -> Accumulate<Record>;

namespace detail {

template <class T>
inline constexpr bool is_accumulate = false;
template <class R>
inline constexpr bool is_accumulate<Accumulate<R>> = true;

/// Elements below float, which only devices compute with; beside them, some tensors of a call may be float.
template <class T>
inline constexpr bool narrow = sizeof(T) < sizeof(float);

/// Inputs, results and sizes of one call.
template <class T>
struct Binding {
  std::array<Operand<T>, max_leaves> inputs{};
  std::array<Operand<T>, max_leaves> results{};
  int input_count = 0, result_count = 0;
  Sizes sizes{};

  void bind_extent(long extent, long size, const char* role, int number, const char* name, int axis) {
    long& bound = extent < 0 ? sizes.bound[static_cast<std::size_t>(-extent - 1)] : size;
    const long expected = extent > 0 ? extent : bound;
    if (extent < 0 && expected == 0 && !seen[static_cast<std::size_t>(-extent - 1)]) {
      bound = size;
      seen[static_cast<std::size_t>(-extent - 1)] = true;
    } else if (expected != size) {
      throw ShapeError(text("linden: ", role, " ", number, name == nullptr ? "" : text(" (", name, ")"), ", axis ", axis,
                            extent < 0 ? text(" (", extent_name(extent), ")") : std::string(), ": bound ", size,
                            ", expected ", expected));
    }
  }
  std::array<bool, named_extents> seen{};
};

/// The operand for a leaf of the traced signature `L`, given the tensor `t`.
template <class T, class L, class Tensor_>
Operand<T> bind_leaf(Binding<T>& binding, Tensor_& t, const char* traced_name, const char* role, int number) {
  using Element_ = std::remove_const_t<typename std::remove_cvref_t<Tensor_>::element>;
  using Given = typename std::remove_cvref_t<Tensor_>::shape;
  using Traced = typename L::shape;
  static_assert(Given::row_count == Traced::row_count && Given::column_count == Traced::column_count,
                "linden: a tensor's shape must be the shape the function was traced with");
  auto view = [&] {
    if constexpr (requires { t.view(); })
      return t.view();
    else
      return t;
  }();
  const char* name = view.name() != nullptr ? view.name() : traced_name;
  binding.bind_extent(Traced::row_count, view.rows(), role, number, name, 0);
  binding.bind_extent(Traced::column_count, view.columns(), role, number, name, 1);
  Operand<T> operand;
  operand.rows = view.rows();
  operand.columns = view.columns();
  operand.stride = view.stride();
  if constexpr (is_ids<L>) {
    static_assert(std::is_same_v<Element_, std::int32_t>, "linden: an argument of Ids takes int32 tensors");
    if (view.stride() != view.columns()) throw ShapeError("linden: rows of ids must be contiguous");
    operand.ids = view.data();
  } else if constexpr (narrow<T> && std::is_same_v<Element_, float>) {
    operand.wide = const_cast<float*>(view.data());
  } else {
    static_assert(std::is_same_v<Element_, T>, "linden: all tensors of a call must have the same element type");
    operand.data = const_cast<T*>(view.data());  // kernels never write inputs
  }
  if constexpr (requires { view.half(); }) operand.half = view.half();
  if (view.data() == nullptr && operand.half == nullptr && view.size() > 0)
    throw ShapeError(text("linden: ", role, " ", number, name == nullptr ? "" : text(" (", name, ")"), " is not bound to memory"));
  return operand;
}

/// Binds one argument: a tensor, or a record whose members match the traced record's.
template <class Traced, class T, class Given>
void bind_argument(Binding<T>& binding, const Given& given, int number) {
  unfrozen_t<Traced> traced{};
  for_each_leaf_pair(traced, given, [&]<class L>(const L& leaf, const auto& tensor) {
    binding.inputs[static_cast<std::size_t>(binding.input_count++)] =
        bind_leaf<T, L>(binding, tensor, leaf.name, "argument", number);
  });
}

/// Binds outputs: a tensor, a record, a tuple of outputs for a traced tuple, or Accumulate{...} around one of them.
template <class Traced, class T, class Given>
void bind_result(Binding<T>& binding, Given& given, bool adds = false) {
  if constexpr (is_accumulate<std::remove_const_t<Given>>) {
    bind_result<Traced>(binding, given.record, true);
  } else if constexpr (is_tuple<Traced>) {
    static_assert(std::tuple_size_v<Traced> == std::tuple_size_v<Given>, "linden: one output for each result");
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (bind_result<std::tuple_element_t<I, Traced>>(binding, std::get<I>(given), adds), ...);
    }(std::make_index_sequence<std::tuple_size_v<Traced>>{});
  } else {
    Traced traced{};
    for_each_leaf_pair(traced, given, [&]<class L>(const L& leaf, auto& tensor) {
      Operand<T> operand = bind_leaf<T, L>(binding, tensor, leaf.name, "result", binding.result_count);
      operand.accumulate = adds;
      binding.results[static_cast<std::size_t>(binding.result_count++)] = operand;
    });
  }
}

template <class Traced, class T, class... Given>
void bind_arguments(Binding<T>& binding, const Given&... given) {
  static_assert(sizeof...(Given) == std::tuple_size_v<Traced>, "linden: wrong number of arguments");
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (bind_argument<std::tuple_element_t<I, Traced>>(binding, given, static_cast<int>(I)), ...);
  }(std::make_index_sequence<sizeof...(Given)>{});
}

/// A program, its plan, and the operands of one run.
template <class T>
using Operands = std::array<Operand<T>, Graph::capacity>;

template <class T>
void find_operands(const Program& p, const Plan& plan, const Pools& saved_pools, const Binding<T>& binding, T* saved,
                   T* workspace, Operands<T>& operands) {
  for (int i = 0; i < p.graph.size; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const Location& location = plan.locations[at];
    const Node& n = p.graph[i];
    switch (location.place) {
      case Place::input: operands[at] = binding.inputs[at]; break;
      case Place::result: operands[at] = binding.results[static_cast<std::size_t>(location.index)]; break;
      case Place::saved:
      case Place::workspace: {
        const Sizes& sizes = binding.sizes;
        const long columns = sizes.of(n.columns);
        T* const base = location.place == Place::saved
                            ? saved + saved_pools.position(location.extent, location.offset, sizes)
                            : workspace + plan.workspace.position(location.extent, location.offset, sizes);
        operands[at].rows = sizes.of(n.rows);
        operands[at].columns = operands[at].stride = columns;
        if (narrow<T> && p.graph.wide(i))
          operands[at].wide = reinterpret_cast<float*>(base);
        else
          operands[at].data = base;
        break;
      }
      default:
        operands[at].rows = binding.sizes.of(n.rows);
        operands[at].columns = binding.sizes.of(n.columns);
    }
  }
}

/// A Code names a program and a plan: `static constexpr const Program& program; static constexpr const Plan& plan;`.
/// What an elementwise loop reads from memory: nodes, each once.
struct LoopReads {
  std::array<int, 64> nodes{};
  int count = 0;

  /// Which of them a node is; -1: none.
  [[nodiscard]] constexpr int number(int node) const {
    for (int k = 0; k < count; ++k)
      if (nodes[static_cast<std::size_t>(k)] == node) return k;
    return -1;
  }
};

/// What a loop that computes these roots, in this order, reads besides the roots themselves.
template <class Code, int... Roots>
constexpr LoopReads loop_reads() {
  LoopReads reads;
  const auto add = [&reads](int node) {
    if (((node == Roots) || ...) || reads.number(node) >= 0) return;
    if (reads.count == 64) throw "linden: an elementwise chain may read at most 64 tensors";
    reads.nodes[static_cast<std::size_t>(reads.count++)] = node;
  };
  const auto add_all = [&add](int root) {
    if (Code::program.graph[root].op->arity > 0) for_each_read(Code::program.graph, Code::plan.locations, root, add);
  };
  (add_all(Roots), ...);
  return reads;
}

/// The operation of node N.
template <class Code, int N>
using OperationAt = Operation<Code::program.graph.nodes[static_cast<std::size_t>(N)].op>;

/// The operation whose kernel step S runs.
template <class Code, int S>
using OperationOf = OperationAt<Code, (Code::plan.steps[static_cast<std::size_t>(S)].kind == Step::Kind::accumulate
                                           ? Code::plan.steps[static_cast<std::size_t>(S)].summand
                                           : Code::plan.steps[static_cast<std::size_t>(S)].node)>;

/// Refuses an operand that is stored as bfloat16 where elements of T are read.
template <class T>
void refuse_stored(const Operand<T>& operand, const Node& n, const char* reader) {
  if (operand.half != nullptr)
    throw ShapeError(text("linden: ", n.name != nullptr ? n.name : "an argument", " is stored as bfloat16, which ", reader,
                          " does not read; bind it in the call's element type"));
}

/// What the kernel of `node` is called with when it writes (or, with `accumulate`, adds) to node `into`.
template <class T>
Call<T> make_call(const Program& p, int node, int into, bool accumulate, const Operands<T>& operands) {
  const Node& n = p.graph[node];
  Call<T> call;
  call.attributes = n.attributes;
  for (int k = 0; k < n.op->arity; ++k) {
    const int input = n.inputs[static_cast<std::size_t>(k)];
    call.inputs[static_cast<std::size_t>(k)] = operands[static_cast<std::size_t>(input)];
    if ((n.op->reads_stored >> k & 1U) == 0) refuse_stored(operands[static_cast<std::size_t>(input)], p.graph[input], n.op->name);
  }
  call.results[0] = operands[static_cast<std::size_t>(into)];
  call.results[0].accumulate = call.results[0].accumulate || accumulate;
  for (int i = node + 1; i < p.graph.size; ++i)
    if (is_result_node(p.graph[i]) && p.graph[i].inputs[0] == node)
      call.results[static_cast<std::size_t>(p.graph[i].attributes[0])] = operands[static_cast<std::size_t>(i)];
  return call;
}

template <class F>
inline constexpr Plan whole_plan = make_plan(program<F>, all_results(program<F>));

template <class F>
struct WholeCode {
  static constexpr const Program& program = linden::program<F>;
  static constexpr const Plan& plan = whole_plan<F>;
};

/// The element type of the first real tensor among the arguments.
template <class First, class... More>
auto element_type_of() {
  using R = std::remove_cvref_t<First>;
  if constexpr (Leaf<R>) {
    using E = std::remove_const_t<typename R::element>;
    if constexpr (Real<E>)
      return E{};
    else
      return element_type_of<More...>();
  } else if constexpr (is_accumulate<R>) {
    return element_type_of<decltype(R::record)>();
  } else {
    return []<class... M>(std::type_identity<std::tuple<M&...>>) {
      return element_type_of<M..., More...>();
    }(std::type_identity<decltype(members(std::declval<R&>()))>{});
  }
}

template <class P, bool Backward>
struct PullbackCode {
  static constexpr const Program& program = P::traced;
  static constexpr const Plan& plan = Backward ? P::backward_plan : P::forward_plan;
};

/// A single gradient as a tuple of one.
template <class T>
struct as_tuple_of {
  using type = std::tuple<T>;
};
template <class... T>
struct as_tuple_of<std::tuple<T...>> {
  using type = std::tuple<T...>;
};
template <class T>
using as_tuple = typename as_tuple_of<T>::type;

}  // namespace detail

/// The plan of a function of tensors.
template <class F>
inline constexpr const Plan& plan_of = detail::whole_plan<F>;

// Every backend has its own workspace, a class template over the element type, and `run_plan<Code>(binding, saved pools, saved,
// workspace)`, which argument-dependent lookup finds in detail's or the workspace's namespace. The rest is the same for all.

/// Runs F's plan: `results` is a tensor, record or std::tie of views (or Accumulate{...}) for what F returns.
template <class F, class T, template <class> class Memory, class Results, class... Tensors>
void evaluate_into(Memory<T>& workspace, Results&& results, const Tensors&... tensors) {
  detail::Binding<T> binding;
  detail::bind_arguments<arguments_of<F>>(binding, tensors...);
  detail::bind_result<result_of<F>>(binding, results);
  run_plan<detail::WholeCode<F>>(binding, Pools{}, static_cast<T*>(nullptr), workspace);
}

/// Forward pass of a pullback: y = f(tensors), keeping in `saved` (of at least saved_elements) what backward needs.
template <class P, class T, template <class> class Memory, class Output, class... Tensors>
void run_forward(P, Memory<T>& workspace, T* saved, Output&& y, const Tensors&... tensors) {
  detail::Binding<T> binding;
  detail::bind_arguments<typename P::arguments>(binding, tensors...);
  detail::bind_result<typename P::output>(binding, y);
  run_plan<detail::PullbackCode<P, false>>(binding, P::kept.pools, saved, workspace);
}

/// Backward pass: gradients from the upstream gradient, the same tensors and the saved buffer of the forward pass.
/// `gradients` is a record or std::tie of views (or Accumulate{...}), in the order the pullback was asked for.
template <class P, class T, template <class> class Memory, class... Gradients, class Upstream, class... Tensors>
void run_backward(P, Memory<T>& workspace, T* saved, std::tuple<Gradients...> gradients, const Upstream& upstream,
                  const Tensors&... tensors) {
  detail::Binding<T> binding;
  detail::bind_arguments<typename P::function::arguments>(binding, tensors..., upstream);
  detail::bind_result<detail::as_tuple<typename P::gradients>>(binding, gradients);
  run_plan<detail::PullbackCode<P, true>>(binding, P::kept.pools, saved, workspace);
}

}  // namespace linden
