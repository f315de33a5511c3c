#pragma once
/// \file
/// What attention's kernels are made of: products of tiles in shared memory that leave blocks of scores in registers, and the
/// tiles' way between memory and shared memory.
/// Tiles    TensorTiles: bfloat16 on tensor cores. PlainTiles: float by plain multiplication. They differ in what a thread
///          holds of a block of scores.

#include <bit>

#include "launch.cuh"
#include "tensor_core.cuh"

namespace linden::cuda {

// ---- blocks of scores ---------------------------------------------------------------------------------------------

/// Shared memory for Count elements: raw, because an element may have a constructor.
template <class T, int Count>
struct Storage {
  alignas(16) unsigned char bytes[static_cast<std::size_t>(Count) * sizeof(T)];  ///< the elements' bytes

  /// The elements.
  __device__ T* elements() { return reinterpret_cast<T*>(bytes); }
};

/// Scores [rows, columns] and sums [rows, size] by plain multiplication. A thread holds 4 neighbouring rows, and of the
/// columns and sums every 16th.
template <class T, int Size, int ThreadColumns>
struct PlainTiles {
  static constexpr int size = Size, threads = 128, lanes_per_row = 16;  ///< padded head, threads of a block, lanes on a row
  static constexpr int thread_rows = 4, thread_columns = ThreadColumns;  ///< what a thread holds of the scores
  static constexpr int thread_sums = Size / 16;                          ///< and, of as many rows, of the sums
  static constexpr int rows = threads / lanes_per_row * thread_rows, columns = 16 * ThreadColumns;  ///< of a block of scores
  static constexpr int stride = Size + pack_size<T>;   ///< of a tile's rows; apart, so that reads meet no bank conflicts
  using Scores = float[thread_rows][thread_columns];   ///< what a thread holds of a block of scores
  using Sums = float[thread_rows][thread_sums];        ///< what a thread holds of the sums
  using Staging = Storage<float, rows*(columns + 4)>;  ///< shared memory in which scores pass from lane to lane

  /// Row and column in the tile of this thread's element.
  __device__ static int row(int r) { return static_cast<int>(threadIdx.x) / 16 * thread_rows + r; }
  /// Column in the tile of this thread's element.
  __device__ static int column(int c) { return static_cast<int>(threadIdx.x) % 16 + 16 * c; }

  /// scores = a [rows, size] b [columns, size]^T.
  __device__ static void multiply(const T* a, const T* b, Scores& scores) {
    for (auto& of_row : scores)
      for (float& score : of_row) score = 0;
    for (int e = 0; e < size; e += 4) {
      Pack<T, 4> left[thread_rows], right[thread_columns];
      for (int r = 0; r < thread_rows; ++r) left[r] = load<4>(a + row(r) * stride + e);
      for (int c = 0; c < thread_columns; ++c) right[c] = load<4>(b + column(c) * stride + e);
      for (int r = 0; r < thread_rows; ++r)
        for (int c = 0; c < thread_columns; ++c)
          for (int i = 0; i < 4; ++i) scores[r][c] += to_float(left[r].at[i]) * to_float(right[c].at[i]);
    }
  }

  /// sums += scores b [columns, size]. A row's scores pass through shared memory to the 16 lanes that share the row.
  __device__ static void add(const Scores& scores, const T* b, Sums& sums, Staging& staging) {
    float* const staged = staging.elements();
    for (int r = 0; r < thread_rows; ++r)
      for (int c = 0; c < thread_columns; ++c) staged[row(r) * (columns + 4) + column(c)] = scores[r][c];
    __syncwarp();
    for (int k = 0; k < columns; k += 4) {
      Pack<float, 4> left[thread_rows];
      for (int r = 0; r < thread_rows; ++r) left[r] = load<4>(staged + row(r) * (columns + 4) + k);
      for (int i = 0; i < 4; ++i)
        for (int c = 0; c < thread_sums; ++c) {
          const float right = to_float(b[(k + i) * stride + column(c)]);
          for (int r = 0; r < thread_rows; ++r) sums[r][c] += left[r].at[i] * right;
        }
    }
    __syncwarp();
  }
};

/// The same on tensor cores. A warp has 16 rows; a thread holds rows g and g + 8 of them and of every 8 columns and
/// sums the columns 2t and 2t + 1 (tensor_core.cuh).
template <int Size, int Columns>
struct TensorTiles {
  static constexpr int size = Size, threads = 128, lanes_per_row = 4;  ///< padded head, threads of a block, lanes on a row
  static constexpr int thread_rows = 2, thread_columns = Columns / 4;       ///< what a thread holds of the scores
  static constexpr int thread_sums = Size / 4;                              ///< and, of as many rows, of the sums
  static constexpr int rows = threads / warp_size * 16, columns = Columns;  ///< of a block of scores
  static constexpr int stride = Size + pack_size<bfloat16>;  ///< of a tile's rows; apart, so that reads meet no bank conflicts
  using Scores = float[thread_rows][thread_columns];         ///< what a thread holds of a block of scores
  using Sums = float[thread_rows][thread_sums];              ///< what a thread holds of the sums
  /// Nothing passes through shared memory.
  struct Staging {};

  /// This thread's place in its warp.
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % warp_size; }
  /// The first of its warp's rows.
  __device__ static int first_row() { return static_cast<int>(threadIdx.x) / warp_size * 16; }
  /// Row in the tile of this thread's element.
  __device__ static int row(int r) { return first_row() + lane() / 4 + 8 * r; }
  /// Column in the tile of this thread's element.
  __device__ static int column(int c) { return c / 2 * 8 + lane() % 4 * 2 + c % 2; }

  /// scores = a [rows, size] b [columns, size]^T.
  __device__ static void multiply(const bfloat16* a, const bfloat16* b, Scores& scores) {
    for (auto& of_row : scores)
      for (float& score : of_row) score = 0;
    a += (first_row() + lane() % 16) * stride + lane() / 16 * 8;
    b += (lane() / 16 * 8 + lane() % 8) * stride + lane() / 8 % 2 * 8;
    for (int e = 0; e < size / 16; ++e) {
      Pair left[4];
      load_matrices<false>(a + e * 16, left);
      for (int n = 0; n < columns / 16; ++n) {
        Pair right[4];  // of 16 columns: the first 8, then the others
        load_matrices<false>(b + n * 16 * stride + e * 16, right);
        multiply_add(scores, n, left, right);
      }
    }
  }

  /// A thread holds of the scores, as sums of one product, just what it must hold as left factors of the next.
  __device__ static void add(const Scores& scores, const bfloat16* b, Sums& sums, Staging&) {
    b += lane() % 16 * stride + lane() / 16 * 8;
    for (int k = 0; k < columns / 16; ++k) {
      const Pair left[4] = {
          pair_of(scores[0][4 * k], scores[0][4 * k + 1]), pair_of(scores[1][4 * k], scores[1][4 * k + 1]),
          pair_of(scores[0][4 * k + 2], scores[0][4 * k + 3]), pair_of(scores[1][4 * k + 2], scores[1][4 * k + 3])};
      for (int n = 0; n < size / 16; ++n) {
        Pair right[4];
        load_matrices<true>(b + k * 16 * stride + n * 16, right);
        multiply_add(sums, n, left, right);
      }
    }
  }

 private:
  /// 16 columns of `to`, those from n * 16 on.
  template <int Count>
  __device__ static void multiply_add(float (&to)[2][Count], int n, const Pair (&left)[4], const Pair (&right)[4]) {
    for (int half = 0; half < 2; ++half) {
      const int c = 4 * n + 2 * half;
      cuda::multiply_add(to[0][c], to[0][c + 1], to[1][c], to[1][c + 1], left, right[2 * half], right[2 * half + 1]);
    }
  }
};

/// Columns of a block of scores: as many as registers and 48 KB of shared memory allow.
constexpr int tensor_columns(int size, bool backward) {
  if (size < 128) return 64;
  return backward ? 32 : 48;
}

/// The tiles for elements T.
template <class T, int Size, bool Backward>
using Tiles = std::conditional_t<std::is_same_v<T, bfloat16>, TensorTiles<Size, tensor_columns(Size, Backward)>,
                                 PlainTiles<T, Size, Backward && Size == 128 ? 1 : 2>>;

// ---- tiles in memory ----------------------------------------------------------------------------------------------

/// What all blocks of a call know.
struct AttentionShape {
  const std::int32_t* spans;  ///< [sequences, 4]
  int sequences;              ///< packed in the batch
  int size, group;            ///< of a head; query heads per kv head
  float scale;                ///< what scores are multiplied with
  bool packed;                ///< rows of heads are aligned to 16 bytes
};

/// A tile of one sequence's queries or keys: those from `first` on. No tile: `rows` is 0.
struct SequenceTile {
  int first_query = 0, queries = 0, first_key = 0, keys = 0;  ///< the sequence's rows
  int first = 0, rows = 0;                                    ///< the tile's first row; rows of all its tiles, 0: no tile

  /// Query i sees the keys before this one.
  __device__ int visible(int i) const { return keys - queries + i + 1; }
};

/// Tile `tile` of all sequences' queries (Field = 1) or keys (Field = 3), in their order. For whole warps.
template <int Field>
__device__ inline SequenceTile find_tile(const AttentionShape& shape, unsigned tile_of_all, int rows_per_tile) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  int tile = static_cast<int>(tile_of_all);
  for (int first = 0; first < shape.sequences; first += warp_size) {
    const int s = first + lane;
    const int tiles = s < shape.sequences ? (shape.spans[s * 4 + Field] + rows_per_tile - 1) / rows_per_tile : 0;
    int after = tiles;  // tiles of these 32 sequences up to this lane's
    for (int step = 1; step < warp_size; step *= 2) {
      const int other = __shfl_sync(0xffffffffU, after, lane < step ? lane : lane - step);
      if (lane >= step) after += other;
    }
    const int of_all = __shfl_sync(0xffffffffU, after, warp_size - 1);
    if (tile < of_all) {
      int at = 0;  // the first lane with after > tile
      for (int step = warp_size / 2; step > 0; step /= 2)
        if (__shfl_sync(0xffffffffU, after, at + step - 1) <= tile) at += step;
      const std::int32_t* const span = shape.spans + (first + at) * 4;
      tile -= __shfl_sync(0xffffffffU, after - tiles, at);
      return {span[0], span[1], span[2], span[3], tile * rows_per_tile, span[Field]};
    }
    tile -= of_all;
  }
  return {};
}

/// The columns of one head in one sequence's rows.
template <class T>
struct HeadRows {
  T* data;           ///< the first element of the first row
  int stride, rows;  ///< elements from row to row; rows of the sequence

  /// Rows first_row to first_row + count - 1 of x, the columns of `head`.
  __device__ HeadRows(const Operand<T>& x, int first_row, int count, int head, int size)
      : data(x.row(first_row) + head * size), stride(static_cast<int>(x.stride)), rows(count) {}
  /// The head's columns of a row.
  __device__ T* row(int index) const { return data + static_cast<long>(index) * stride; }
};

/// A tile of Rows rows, spread over the block's threads on its way from memory to shared memory: in words of 32 bits,
/// so that elements of 16 are not taken apart.
template <class T, class Tiles, int Rows>
struct Moving {
  using Word = std::uint32_t;                                                        ///< what moves
  static constexpr int width = pack_size<T>, packs = Tiles::size / width;            ///< elements of a pack, packs of a row
  static constexpr int held = (Rows * packs + Tiles::threads - 1) / Tiles::threads;  ///< packs of a thread
  Pack<Word, 4> pack[held];                                                          ///< on their way

  /// Asks for the rows from `first` on; what lies outside is 0.
  __device__ void read(const HeadRows<T>& from, int first, const AttentionShape& shape) {
    for (int n = 0; n < held; ++n) {
      const int i = n * Tiles::threads + static_cast<int>(threadIdx.x), e = i % packs * width;
      const int row = first + i / packs;
      for (Word& word : pack[n].at) word = 0;
      if (i >= Rows * packs || row >= from.rows || e >= shape.size) continue;
      const T* const at = from.row(row) + e;
      if (shape.packed)
        pack[n] = load<4>(reinterpret_cast<const Word*>(at));
      else
        for (int j = 0; j < width; ++j)
          if (e + j < shape.size) put_element(pack[n], j, at[j]);
    }
  }
  /// Puts the rows that were asked for into shared memory, Tiles::stride elements apart.
  __device__ void write(T* tile) const {
    for (int n = 0; n < held; ++n)
      if (const int i = n * Tiles::threads + static_cast<int>(threadIdx.x); i < Rows * packs)
        store(reinterpret_cast<Word*>(tile + i / packs * Tiles::stride + i % packs * width), pack[n]);
  }

 private:
  __device__ static void put_element(Pack<Word, 4>& to, int j, T element) {
    if constexpr (sizeof(T) == sizeof(Word))
      to.at[j] = std::bit_cast<Word>(element);
    else
      to.at[j / 2] |= static_cast<Word>(element.bits) << (j % 2 * 16);
  }
};

/// Reads a tile's rows from `first` on into shared memory, without a barrier.
template <class Tiles, class T>
__device__ inline void read_rows(const HeadRows<T>& from, int first, const AttentionShape& shape, T* tile) {
  Moving<T, Tiles, Tiles::rows> moving;
  moving.read(from, first, shape);
  moving.write(tile);
}

/// Writes factor[row] * sums to a tile's rows from `first` on, by way of `tile` in shared memory, which nobody may be
/// reading. For all threads of the block.
template <class Tiles, class T>
__device__ inline void write_rows(const typename Tiles::Sums& sums, const float (&factor)[Tiles::thread_rows],
                                  const HeadRows<T>& to, int first, const AttentionShape& shape, T* tile) {
  for (int r = 0; r < Tiles::thread_rows; ++r)
    for (int c = 0; c < Tiles::thread_sums; ++c)
      tile[Tiles::row(r) * Tiles::stride + Tiles::column(c)] = from_float<T>(sums[r][c] * factor[r]);
  __syncthreads();
  constexpr int width = pack_size<T>, packs = Tiles::size / width;
  for (int i = static_cast<int>(threadIdx.x); i < Tiles::rows * packs; i += Tiles::threads) {
    const int e = i % packs * width;
    if (first + i / packs >= to.rows || e >= shape.size) continue;
    const T* const from = tile + i / packs * Tiles::stride + e;
    T* const at = to.row(first + i / packs) + e;
    if (shape.packed)
      store(at, load<width>(from));
    else
      for (int j = 0; j < width; ++j)
        if (e + j < shape.size) at[j] = from[j];
  }
}

}  // namespace linden::cuda
