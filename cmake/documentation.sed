# Doxygen's input filter (sed -E). Lines keep their numbers.
#
# Operations, device kernels and configurations have the same few members each. What those mean is said once, here and in
# graph/op.hpp and kernels/launch.cuh, instead of in every header.
s@^ *static constexpr const char\* name = @/** What errors and printed plans call it. */ &@
s@^ *static constexpr int arity = @/** Number of inputs. */ &@
s@^ *static constexpr bool commutative = @/** Swapped inputs give the same node. */ &@
s@^ *static constexpr bool accumulates = @/** The kernel can add to its result instead of assigning. */ &@
s@^ *static constexpr bool cheap = @/** May run again in the backward pass instead of being kept. */ &@
s@^ *static constexpr bool flat = @/** The derivative is zero wherever it exists. */ &@
s@^ *static constexpr unsigned reads_stored = @/** Bit k: input k may be stored as bfloat16. */ &@
s@^ *static constexpr unsigned wide_results = @/** Bit k: result k is float also where elements are narrower. */ &@
s@^ *static constexpr T element\(@/** The operation on single elements. */ &@
s@^ *static void cpu\(const Call<T>& call\)@/** The kernel on the CPU; shapes as the operation says. */ &@
s@^ *static constexpr void vjp\(Vjp& v\)@/** Its inputs' gradients, from its results', in symbols. */ &@
s@^struct Kernel<[A-Z][A-Za-z]*> @/** How this operation runs on a device. */ &@
s@^ *static void run\(const Call<T>& call, const Queue& queue\)@/** Starts the kernels, in stream order. */ &@
s@^ *static long scratch\(const Call<T>& call, const Queue&@/** Floats of scratch memory that the call needs. */ &@
s@^ *static constexpr long hidden = .*, intermediate = .*;@&  ///< columns outside and inside the feed-forward network; blocks@
s@^ *static constexpr long heads = .*, kv_heads = .*;@&  ///< query heads, heads of keys and values, columns of a head@
s@^ *static constexpr long vocabulary = .*, positions = .*;@&  ///< tokens it knows, positions it was made for@
s@^ *static constexpr double epsilon = .*, theta = .*;@&  ///< of RMSNorm; base of the rotary frequencies@
s@^ *static constexpr bool tied = @/** The head is the embedding. */ &@
s@^ *static constexpr RotaryScaling scaling\{@/** How the rotary frequencies are stretched. */ &@
s@^ *(friend )?(constexpr )?bool operator==\(.*= default;@/** True where all members are equal. */ &@
s@^ *auto operator<=>\(.*= default;@/** In the order of the members. */ &@
# What a header promises, a line each: Shapes, Units, Errors, Source and their like.
s@^/// ([A-Z][a-z]+)  +@/// <br><b>\1</b> @
# Words behind several declarators are meant for all of them: `int a, b;  ///< words` becomes two declarations with these words.
:several
s@^((.*\*/)? *)((static constexpr )?[A-Za-z_:]+(<[^;]*>)?) ([*a-zA-Z_][^,;()]*), ([*a-zA-Z_][^;()]*); +///< (.*)@\1\3 \6; /**< \8 */ \3 \7;  ///< \8@
t several
