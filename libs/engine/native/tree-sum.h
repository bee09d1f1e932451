// Sums over shards, in the canonical tree: T(lo, z) = T(lo, z/2) + T(lo + z/2, z/2).
//
// The gradient of a weight is a product: what a shard gave to the layer, transposed, times what comes
// back. With few samples it is much larger than its factors, and to write it for each shard, copy it
// and add it up costs more than the mathematics. So a tile of it is computed for one shard after the
// other and added up in registers and the first cache; memory sees the sum alone, once.
//
// An element is fma(left[k], right[k], …) over ascending k from zero, so its bits depend neither on
// the processor nor on how many elements are computed at once.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

namespace tree_sum {

// Shapes [depth, rows] and [depth, columns] of each shard; `out` has [rows, columns].
struct Factors {
  const float *left, *right;
};
struct Product {
  std::vector<Factors> shards;
  size_t depth, rows, columns;
  float* out;
};

inline size_t levelsOf(size_t shards) {
  size_t levels = 1;
  while ((size_t{1} << (levels - 1)) < shards) levels++;
  return levels;
}

template <int Lanes>
struct Lane {
  typedef float Vector __attribute__((vector_size(4 * Lanes)));
};

// Puts the value of shard s into the stack of sums: of two that are equally large, left + right.
template <class Vector, int Count>
inline __attribute__((always_inline)) void push(Vector (&value)[Count], size_t shard, float* stack) {
  constexpr size_t lanes = sizeof(Vector) / sizeof(float);
  for (; shard & 1; shard >>= 1, stack += Count * lanes) {
#pragma GCC unroll 16
    for (int i = 0; i < Count; i++) {
      Vector left;
      memcpy(&left, stack + i * lanes, sizeof left);
      value[i] = left + value[i];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < Count; i++) memcpy(stack + i * lanes, &value[i], sizeof value[i]);
}

// sum = fma(left, right, sum): said to the processor, so that it is one rounding whatever the compiler
// and its flags make of `a * b + c`.
template <class Vector>
inline __attribute__((always_inline)) void fuse(Vector& sum, const Vector& left, const Vector& right) {
#if defined(__x86_64__)
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(left), "v"(right));
#elif defined(__aarch64__)
  asm("fmla %0.4s, %1.4s, %2.4s" : "+w"(sum) : "w"(left), "w"(right));
#endif
}

// `Rows` rows and two vectors of columns: as many sums as there are registers for.
template <int Lanes, int Rows>
inline __attribute__((always_inline)) void tile(const Product& product, const float* panel, size_t row, float* stack) {
  using Vector = typename Lane<Lanes>::Vector;
  for (size_t shard = 0; shard < product.shards.size(); shard++) {
    Vector sums[2 * Rows] = {};
    const float* left = product.shards[shard].left + row;
    for (size_t k = 0; k < product.depth; k++, left += product.rows, panel += 2 * Lanes) {
      Vector first, second;
      memcpy(&first, panel, sizeof first);
      memcpy(&second, panel + Lanes, sizeof second);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; i++) {
        Vector each = left[i] - Vector{};  // The same number in each lane: x - 0 is x.
        fuse(sums[2 * i], each, first);
        fuse(sums[2 * i + 1], each, second);
      }
    }
    push(sums, shard, stack);
  }
}

// The columns from `column` on of all shards' right factors, one after the other, zeros where they end.
inline size_t packPanel(const Product& product, size_t column, size_t width, float* panel) {
  size_t count = product.columns - column < width ? product.columns - column : width;
  for (auto& [left, right] : product.shards)
    for (size_t k = 0; k < product.depth; k++, panel += width) {
      memcpy(panel, right + k * product.columns + column, count * sizeof(float));
      for (size_t i = count; i < width; i++) panel[i] = 0;
    }
  return count;
}

template <int Lanes, int Rows>
inline __attribute__((always_inline)) void tiles(const Product& product, std::vector<float>& room) {
  constexpr size_t width = 2 * Lanes;
  size_t count = product.shards.size(), last = levelsOf(count) - 1;
  room.resize(count * product.depth * width + (last + 1) * Rows * width);
  float *panel = room.data(), *stack = panel + count * product.depth * width;
  for (size_t column = 0; column < product.columns; column += width) {
    size_t columns = packPanel(product, column, width, panel);
    for (size_t row = 0; row < product.rows;) {
      size_t rows = product.rows - row < Rows ? 1 : Rows;
      if (rows == Rows) tile<Lanes, Rows>(product, panel, row, stack);
      else tile<Lanes, 1>(product, panel, row, stack);
      const float* sum = stack + last * rows * width;
      for (size_t i = 0; i < rows; i++)
        memcpy(product.out + (row + i) * product.columns + column, sum + i * width, columns * sizeof(float));
      row += rows;
    }
  }
}

// For processors without fused multiplication and addition: the same bits, slowly.
inline void elementByElement(const Product& product, std::vector<float>& room) {
  size_t count = product.shards.size();
  room.resize(levelsOf(count));
  for (size_t row = 0; row < product.rows; row++)
    for (size_t column = 0; column < product.columns; column++) {
      for (size_t shard = 0; shard < count; shard++) {
        auto [left, right] = product.shards[shard];
        float sum = 0;
        for (size_t k = 0; k < product.depth; k++)
          sum = __builtin_fmaf(left[k * product.rows + row], right[k * product.columns + column], sum);
        size_t level = 0;
        for (; (shard >> level) & 1; level++) sum = room[level] + sum;
        room[level] = sum;
      }
      product.out[row * product.columns + column] = room[levelsOf(count) - 1];
    }
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) inline void avx512(const Product& product, std::vector<float>& room) { tiles<16, 8>(product, room); }
__attribute__((target("avx2,fma"))) inline void avx2(const Product& product, std::vector<float>& room) { tiles<8, 6>(product, room); }
inline auto chosen() {
  if (__builtin_cpu_supports("avx512f")) return avx512;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2 : elementByElement;
}
#elif defined(__aarch64__)
inline void neon(const Product& product, std::vector<float>& room) { tiles<4, 8>(product, room); }
inline auto chosen() { return neon; }
#else
inline auto chosen() { return elementByElement; }
#endif

// The sum of the shards' products; their number is a power of two.
inline void products(const Product& product) {
  static const auto run = chosen();
  static thread_local std::vector<float> room;
  run(product, room);
}

// The sum of vectors that are given; their number is a power of two.
inline void vectors(const std::vector<const float*>& given, size_t floats, float* out) {
  if (given.size() == 1) {
    memcpy(out, given[0], floats * sizeof(float));
    return;
  }
  using Vector = Lane<16>::Vector;
  constexpr size_t lanes = 16;
  static thread_local std::vector<float> room;
  size_t last = levelsOf(given.size()) - 1;
  room.resize((last + 1) * lanes);
  for (size_t from = 0; from < floats; from += lanes) {
    size_t count = floats - from < lanes ? floats - from : lanes;
    for (size_t shard = 0; shard < given.size(); shard++) {
      Vector value[1] = {};
      memcpy(value, given[shard] + from, count * sizeof(float));
      push(value, shard, room.data());
    }
    memcpy(out + from, room.data() + last * lanes, count * sizeof(float));
  }
}

}  // namespace tree_sum
